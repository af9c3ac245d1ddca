"""Seeded pictures, for a measurement without a camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from moase_edge.frames.frame import Frame
from moase_edge.frames.source import Source, SourceCounts

_PICTURES = 8


class SyntheticSource(Source):
    """Eight pictures of slow colour waves, made once, in turn and without end.

    Args:
        width, height: in pixels.
        seed: of the waves.
    """

    live = False
    length: int | None = None

    def __init__(
        self,
        *,
        width: int = 1280,
        height: int = 720,
        seed: int = 0,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.name = f"synthetic frames, {width}x{height}"
        self.counts = SourceCounts()
        self._clock_ns = clock_ns
        rng = np.random.default_rng(seed)
        self._pictures = [_waves(width, height, rng) for _ in range(_PICTURES)]

    def frames(self) -> Iterator[Frame]:
        """The pictures in turn, until the source is closed."""
        while self._pictures:
            index = self.counts.delivered
            image = self._pictures[index % _PICTURES]
            self.counts.count(image, converted=False)
            yield Frame(image, index, self._clock_ns())

    def close(self) -> None:
        """Give no more frames."""
        self._pictures = []


def _waves(width: int, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A product of two sines a channel, H x W x 3, uint8."""
    x, y = np.linspace(0, 2 * np.pi, width), np.linspace(0, 2 * np.pi, height)
    image = np.empty((height, width, 3), dtype=np.uint8)
    for channel in range(3):
        (a, b), (p, q) = rng.uniform(0.5, 6, 2), rng.uniform(0, 2 * np.pi, 2)
        image[..., channel] = 128 + 127 * np.sin(a * y + p)[:, None] * np.sin(b * x + q)
    return image
