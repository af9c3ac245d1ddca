"""The newest frame as a JPEG, made at a limited rate whoever looks on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import cv2
import numpy as np
from numpy.typing import NDArray

from moase_edge.runtime.result import Result
from moase_edge.runtime.web.live import Live

MOST_PER_S = 10
_MOST_PX = 960
_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame that was encoded.

    Attributes:
        number: of the picture in this run, from 1.
        result: the answer to its frame.
        jpeg: the file.
    """

    number: int
    result: Result
    jpeg: bytes


class Pictures:
    """One picture at a time, shared by all who look on; used by the watching thread alone.

    Args:
        live: what the loop hands over.
        clock_s: monotonic.

    Attributes:
        newest: the latest picture; None before the first was asked for.
        encoded: how many were made.
    """

    def __init__(self, live: Live, *, clock_s: Callable[[], float] = monotonic) -> None:
        self._live, self._clock_s = live, clock_s
        self.newest: Picture | None = None
        self.encoded = 0
        self._next_s = 0.0

    def refresh(self) -> Picture | None:
        """The newest picture; a newer one is made where there is one, at most `MOST_PER_S` times a second."""
        there, now_s = self._live.newest, self._clock_s()
        if there is None or now_s < self._next_s:
            return self.newest
        result = there[0]
        if self.newest is None or self.newest.result is not result:
            self._next_s = now_s + 1 / MOST_PER_S
            self.encoded += 1
            self.newest = Picture(self.encoded, result, encoded(result.frame.image))
        return self.newest


def encoded(image: NDArray[np.uint8], *, most_px: int = _MOST_PX) -> bytes:
    """A JPEG of an RGB image (H, W, 3), scaled down until no side is above `most_px`.

    OpenCV lets other threads run while it scales and encodes.
    """
    scale = most_px / max(image.shape[:2])
    if scale < 1:
        size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    _, buffer = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(buffer)
