"""A video file as a source: every frame, in order, as fast as the consumer takes them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from moase_edge.errors import SourceError
from moase_edge.frames.frame import Frame
from moase_edge.frames.opencv import (
    position_s,
    promised_frames,
    quiet_opencv,
    read_capture,
    rgb_from_opencv,
    stated_rate,
)
from moase_edge.frames.redact import printable
from moase_edge.frames.source import Source, SourceCounts

logger = logging.getLogger(__name__)

# In a row. A read that fails has itself looked through thousands of packets for the next picture.
_MOST_FAILED_READS = 10_000


class VideoSource(Source):
    """Decodes a video with OpenCV. `length` is what the container promises, None where it promises nothing.

    In a damaged file, reads that fail are passed over as long as the container promises more frames (the frames up
    to the next key frame may look smeared), up to 10,000 in a row: a damaged header may promise billions. The
    source ends after the last frame that can be decoded, logs a warning and leaves the difference in
    `counts.missing`.
    """

    live = False

    def __init__(self, path: str | Path, *, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        """Open `path` and decode its first frame.

        Raises:
            SourceError: the file does not exist, cannot be read, is empty, or holds no frame that can be decoded.
        """
        self.name = printable(str(path))
        self.counts = SourceCounts()
        self._clock_ns = clock_ns
        self._position = 0
        self._shown_s = -1.0  # before any time stamp
        _refuse_unreadable(Path(path), self.name)
        with quiet_opencv():
            self._capture: Any = _open_capture(Path(path).absolute())
            self.length = promised_frames(self._capture)
            self.rate = stated_rate(self._capture)
            self._first = None if _is_text(self._capture) else self._read()
        if self._first is None:
            self.close()
            raise SourceError(
                f"no frame of {self.name} can be decoded: not a video, damaged from its start, or in a format "
                "that this OpenCV does not know. `ffmpeg -i FILE out.mp4` rewrites most videos"
            )

    def frames(self) -> Iterator[Frame]:
        """Every frame that can be decoded."""
        while self._capture is not None:
            began = time.perf_counter_ns()
            image = self._first if self._first is not None else self._read_on()
            self._first = None
            if image is None:
                self._end()
                return
            rgb, converted = rgb_from_opencv(image)
            self.counts.count(rgb, converted=converted)
            decode_ms = (time.perf_counter_ns() - began) / 1e6
            yield Frame(rgb, self._position - 1, self._clock_ns(), decode_ms=decode_ms)

    @property
    def shown_s(self) -> float:
        """When the latest frame is shown, in seconds from some moment near the first; grows from frame to frame.

        Where the container has no time stamps, or some that go back, by the stated rate.
        """
        return self._shown_s

    def close(self) -> None:
        """Release the file."""
        if self._capture is not None:
            self._capture.release()
        self._capture = None
        self._first = None

    def _read(self) -> NDArray[Any] | None:
        """The frame at the next position, None where it cannot be decoded."""
        self._position += 1
        try:
            image = read_capture(self._capture)
        except SourceError as exc:
            logger.warning("%s: %s", self.name, exc)
            return None
        stated_s = position_s(self._capture)
        self._shown_s = stated_s if stated_s > self._shown_s else self._shown_s + 1 / (self.rate or 1)
        return image

    def _read_on(self) -> NDArray[Any] | None:
        """The next frame that can be decoded, None at the end."""
        failed = 0
        image = self._read()
        while image is None and self._position < (self.length or 0) and failed < _MOST_FAILED_READS:
            failed += 1
            image = self._read()
        if image is not None:
            self.counts.decode_errors += failed
        return image

    def _end(self) -> None:
        self.close()
        self.counts.missing = max(0, (self.length or 0) - self.counts.delivered - self.counts.dropped)
        if self.counts.missing:
            logger.warning(
                "%s: the container promises %d frames, %d came: the file is damaged or truncated",
                self.name,
                self.length,
                self.counts.delivered + self.counts.dropped,
            )


def _refuse_unreadable(path: Path, name: str) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as exc:
        raise SourceError(f"the video {name} cannot be opened: {exc.strerror}") from exc
    if empty:
        raise SourceError(f"the video {name} is empty (0 bytes); copy or record it again")


def _open_capture(path: Path) -> Any:
    import cv2

    # Any other backend may take a name for a pattern or a pipeline; it serves only where FFmpeg is not built in.
    backend = cv2.CAP_FFMPEG if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG) else cv2.CAP_ANY
    try:
        return cv2.VideoCapture(_name_for_opencv(path), backend)
    except (cv2.error, TypeError) as exc:
        raise SourceError(
            f"OpenCV cannot open the video {printable(str(path))}: {printable(str(exc))}; rename it in ASCII"
        ) from exc


def _name_for_opencv(path: Path) -> Any:
    """Bytes where a name is no UTF-8: given that as text, OpenCV ends the process with a segmentation fault."""
    name = os.fsencode(path)
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name


def _is_text(capture: Any) -> bool:
    """Whether FFmpeg took a text file for the output of a terminal and would draw it."""
    import cv2

    return int(capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"ansi")
