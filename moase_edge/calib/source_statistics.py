"""Record what the frozen model sees of source images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.artifact.source_statistics import SourceStatistics
from moase_edge.artifact.specs import TOKEN_MEANS, SidecarSpec
from moase_edge.calib.running_moments import RunningMoments
from moase_edge.engines.base import Engine
from moase_edge.errors import CalibrationError, SourceError
from moase_edge.frames.frame import Frame
from moase_edge.frames.preprocess import Preprocessor

FEWEST_IMAGES = 2

Name = TypeVar("Name", bound=str)


def record_source_statistics(
    engine: Engine, sidecar: Sidecar, preprocessor: Preprocessor, images: Iterable[Frame]
) -> SourceStatistics:
    """Mean and spread, by channel, of the taps, of what the head reads and, by block, of token means.

    Images go through one by one, as in a live run, so that the result does not depend on a batch; none is kept.

    Args:
        engine: returns `mid` and `out`, and `token_means` where it can be steered; no shift is given.
        sidecar: at its source state.
        images: frames of the source domain.

    Raises:
        CalibrationError: fewer than two images, or values that are not finite; names the image.
        EngineError: the engine failed.
        SourceError: an image cannot be prepared, or the source was lost.
    """
    return record_of_each({"": engine}, sidecar, preprocessor, images)[""]


def record_of_each(
    engines: Mapping[Name, Engine], sidecar: Sidecar, preprocessor: Preprocessor, images: Iterable[Frame]
) -> dict[Name, SourceStatistics]:
    """As `record_source_statistics`, of several engines that see the same images, each decoded once."""
    running = {name: _Running(engine, sidecar) for name, engine in engines.items()}
    for frame in images:
        image, title = _prepared(preprocessor, frame), _title(frame)
        for each in running.values():
            each.add(image, title)
    return {name: each.statistics() for name, each in running.items()}


def source_statistics_of(
    engine: Engine, sidecar: Sidecar, images: Iterable[tuple[NDArray[np.float32], str]]
) -> SourceStatistics:
    """As `record_source_statistics`, of images (1, 3, H, W) that are preprocessed already, with their names."""
    running = _Running(engine, sidecar)
    for image, title in images:
        running.add(image, title)
    return running.statistics()


class _Running:
    """What an engine and the sidecar made of the images so far."""

    def __init__(self, engine: Engine, sidecar: Sidecar) -> None:
        self._engine, self._sidecar = engine, sidecar
        self._moments: dict[str, RunningMoments] = defaultdict(RunningMoments)
        self._count = 0

    def add(self, image: NDArray[np.float32], title: str) -> None:
        """Run an image (1, 3, H, W)."""
        for name, rows in _seen(self._engine, self._sidecar, image, title).items():
            self._moments[name].add(rows)
        self._count += 1

    def statistics(self) -> SourceStatistics:
        """Of all images; two at least are needed."""
        if self._count < FEWEST_IMAGES:
            raise CalibrationError(too_few(self._count))
        moments = {name: of.moments() for name, of in self._moments.items()}
        return SourceStatistics(**moments, count=self._count)


def too_few(count: int) -> str:
    """What is said of a source that has no spread."""
    return (
        f"source statistics need {FEWEST_IMAGES} images at least, better some hundred of what the model was "
        f"trained for; got {count}. Name more."
    )


@torch.no_grad()
def _seen(
    engine: Engine, sidecar: Sidecar, image: NDArray[np.float32], title: str
) -> dict[str, NDArray[np.float32]]:
    """Of one image by quantity: tokens that the head reads (n, C), features (1, C), token means (1, L, C)."""
    outputs = engine.run(image)
    taps = {name: outputs[name] for name in ("mid", "out")}
    # Before the sidecar: an adapter does not take values that are not finite.
    _refuse_non_finite(taps, title)
    features = sidecar(Taps(**{name: torch.from_numpy(tap) for name, tap in taps.items()})).features.numpy()
    read = _read_tokens(sidecar.spec)
    means = {name: outputs[name] for name in (TOKEN_MEANS,) if name in outputs}
    seen = {**{name: tap[0, read] for name, tap in taps.items()}, "features": features, **means}
    _refuse_non_finite(seen, title)
    return seen


def _refuse_non_finite(values: Mapping[str, NDArray[np.float32]], title: str) -> None:
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise CalibrationError(
                f"{name} of {title} is not finite: the model overflows on it. "
                "Look at the image and leave it out, or take another engine or precision."
            )


def _read_tokens(spec: SidecarSpec) -> slice:
    """Which tokens of a tap the pooling reads."""
    first = 0 if spec.pooling == "token" or spec.pool_prefix else spec.prefix_tokens
    return slice(first, spec.read_tokens)


def _prepared(preprocessor: Preprocessor, frame: Frame) -> NDArray[np.float32]:
    try:
        return preprocessor.batch([frame.image])
    except SourceError as exc:
        raise SourceError(f"{_title(frame)}: {exc}") from exc


def _title(frame: Frame) -> str:
    return f"image {frame.index} ({frame.name})" if frame.name else f"image {frame.index}"
