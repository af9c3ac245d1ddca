"""Frames that stand for a source: spread in time and content, near-duplicates left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.calibration import Coverage
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.config.calib import RepresentativeSettings
from moase_edge.errors import CalibrationError
from moase_edge.frames.frame import Frame
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.frames.source import Source

logger = logging.getLogger(__name__)

THUMBNAIL = 16
FEW = 100
# Of a thumbnail's spread: one level of 255. A picture below it has one colour, but for its coding.
_FLAT = 1 / 255
_SMALL = 0.5  # share of the model's size below which enlarging invents most of what is seen


@dataclass(frozen=True, slots=True, eq=False)
class Representative:
    """Frames that were kept, in the order of the source.

    Attributes:
        frames: (1, 3, H, W) float32 each, preprocessed.
        names: of the files they come from; None where there are none.
        coverage: of the source.
    """

    frames: list[NDArray[np.float32]]
    names: list[str | None]
    coverage: Coverage


class _Kept:
    """Frames kept so far, no two of them near-duplicates, and how many were not."""

    def __init__(self, settings: RepresentativeSettings) -> None:
        self._settings = settings
        self.frames: list[NDArray[np.float32]] = []
        self.names: list[str | None] = []
        self.seen: list[NDArray[np.float32]] = []
        self._thumbnails: list[NDArray[np.float32]] = []
        self._duplicates = self._crowded_out = 0

    def differs(self, thumbnail: NDArray[np.float32]) -> bool:
        """Count a frame that is seen, and say whether it is no near-duplicate of one that is kept."""
        self.seen.append(thumbnail)
        near = _nearest(self._thumbnails, thumbnail) < self._settings.near**2
        self._duplicates += near
        return not near

    def take(self, frame: NDArray[np.float32], name: str | None, thumbnail: NDArray[np.float32]) -> None:
        """Keep a frame (1, 3, H, W); where there are too many, one of the two that are nearest goes."""
        self.frames.append(frame)
        self.names.append(name)
        self._thumbnails.append(thumbnail)
        if len(self.frames) > self._settings.most:
            self._drop(_later_of_the_nearest(self._thumbnails))
            self._crowded_out += 1

    def coverage(self, source: str, small: int) -> Coverage:
        """Of all that was seen, one frame at least."""
        return Coverage(
            source=source,
            seen=len(self.seen),
            taken=len(self.frames),
            duplicates=self._duplicates,
            crowded_out=self._crowded_out,
            small=small,
            coverage=coverage_of(np.stack(self.seen), np.stack(self._thumbnails)),
        )

    def _drop(self, index: int) -> None:
        for values in (self.frames, self.names, self._thumbnails):
            del values[index]


def representative_frames(
    source: Source, preprocess: PreprocessSpec, settings: RepresentativeSettings
) -> Representative:
    """Take frames that differ from each other, so that ranges are of all that the source shows.

    A frame that is nearer than `near` to one kept before is a duplicate. Once `most` are kept, each further one
    takes part in a choice: of the two frames that are nearest to each other the later one goes. The same frames
    give the same choice.

    Args:
        source: pictures, a video, or a camera, of which frames are taken for `live_s` seconds.

    Raises:
        CalibrationError: no frame, or every frame of one colour.
        SourceError: the source was lost, or a frame cannot be prepared.
    """
    prepare, kept = Preprocessor(preprocess), _Kept(settings)
    small = 0
    for frame in _looked_at(source, settings):
        small += min(frame.image.shape[:2]) < _SMALL * min(preprocess.height, preprocess.width)
        thumbnail = thumbnail_of(frame.image)
        if kept.differs(thumbnail):
            kept.take(prepare.batch([frame.image]), frame.name, thumbnail)
    _refuse_without_range(source.name, kept.seen)
    found = kept.coverage(source.name, small)
    _warn(found, preprocess)
    return Representative(kept.frames, kept.names, found)


def thumbnail_of(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 -> 16 x 16 grey values of 0 to 1, as a vector."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    grey_levels: NDArray[np.float32] = small.astype(np.float32).ravel() / np.float32(255)
    return grey_levels


def coverage_of(seen: NDArray[np.float32], kept: NDArray[np.float32]) -> float:
    """Of thumbnails (n, D) by those kept (m, D); see `Coverage`."""
    nearest = np.array([float(((kept - one) ** 2).mean(axis=1).min()) for one in seen])
    spread = float(((seen - seen.mean(axis=0)) ** 2).mean())
    return 1 - float(nearest.mean()) / spread if spread > 0 else 1.0


def _looked_at(source: Source, settings: RepresentativeSettings) -> Iterator[Frame]:
    """Frames of a file at even distances, or of a camera at even times."""
    if source.live:
        yield from _over_time(source, settings)
        return
    step = max(1, -(-(source.length or 0) // settings.looks))
    for index, frame in enumerate(source.frames()):
        if index % step == 0:
            yield frame


def _over_time(source: Source, settings: RepresentativeSettings) -> Iterator[Frame]:
    """At most `looks` frames over `live_s` seconds by the frames' own clock."""
    pause_ns = settings.live_s * 1e9 / settings.looks
    began: int | None = None
    due = 0.0
    for frame in source.frames():
        began = frame.captured_ns if began is None else began
        passed = frame.captured_ns - began
        if passed >= settings.live_s * 1e9:
            return
        if passed >= due:
            due = passed + pause_ns
            yield frame


def _nearest(thumbnails: list[NDArray[np.float32]], thumbnail: NDArray[np.float32]) -> float:
    """Mean squared difference to the nearest of some thumbnails; infinite where there is none."""
    if not thumbnails:
        return float("inf")
    return float(((np.stack(thumbnails) - thumbnail) ** 2).mean(axis=1).min())


def _later_of_the_nearest(thumbnails: list[NDArray[np.float32]]) -> int:
    """Index of the later one of the two that are nearest to each other."""
    all_of_them = np.stack(thumbnails).astype(np.float64)
    squares = (all_of_them**2).sum(axis=1)
    distances = squares[:, None] + squares[None] - 2 * all_of_them @ all_of_them.T
    np.fill_diagonal(distances, np.inf)
    return int(max(np.unravel_index(int(distances.argmin()), distances.shape)))


def _refuse_without_range(name: str, thumbnails: list[NDArray[np.float32]]) -> None:
    if not thumbnails:
        raise CalibrationError(f"{name} gave no frame; ranges need some hundred. Name more images.")
    if max(float(np.ptp(thumbnail)) for thumbnail in thumbnails) <= _FLAT:
        raise CalibrationError(
            f"every frame of {name} has one colour only ({len(thumbnails)} seen), which gives no range. "
            "Look at the camera, or name images like those of the deployment."
        )


def _warn(found: Coverage, preprocess: PreprocessSpec) -> None:
    if found.taken < FEW:
        logger.warning(
            "ranges are taken from %d frames of %s (%d seen, %d near-duplicates); %d at least are advised",
            found.taken,
            found.source,
            found.seen,
            found.duplicates,
            FEW,
        )
    if found.small:
        logger.warning(
            "%d of %d frames of %s are less than half as large as the model's %d x %d and are enlarged",
            found.small,
            found.seen,
            found.source,
            preprocess.width,
            preprocess.height,
        )
