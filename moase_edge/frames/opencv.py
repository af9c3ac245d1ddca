"""What OpenCV's captures have in common: channel order, noise, errors."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import SourceError

_HIGHEST_RATE = 1000  # containers without a rate state the ticks of their clock, such as 90000
_MOST_FRAMES = 2**31  # containers without a frame count report numbers beyond any video


def rgb_from_opencv(image: NDArray[Any]) -> tuple[NDArray[np.uint8], bool]:
    """Turn OpenCV's frame into H x W x 3, RGB, uint8, and say whether that changed more than the channel order.

    `image` is H x W, H x W x 1 (grey), H x W x 3 (BGR) or H x W x 4 (BGRA, alpha is dropped), uint8 or uint16
    (the upper 8 bits are kept). The result is a fresh, C-contiguous array.

    Raises:
        SourceError: any other shape or dtype, or a frame without pixels.
    """
    import cv2

    codes = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    channels = 1 if image.ndim == 2 else image.shape[-1]
    known = image.ndim in (2, 3) and channels in codes and image.dtype in (np.uint8, np.uint16)
    if not known or image.size == 0:
        raise SourceError(
            f"got a frame of shape {image.shape} and type {image.dtype}; expected H x W with 1, 3 or 4 channels "
            "of 8 or 16 bits"
        )
    converted = channels != 3 or image.dtype != np.uint8
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    rgb: NDArray[np.uint8] = cv2.cvtColor(image, codes[channels])
    return rgb, converted


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV and its FFmpeg from writing to standard error while a capture is opened.

    FFmpeg takes its log level from the environment when the process opens its first capture, and offers no
    other way; the variable is set for that moment only, and left alone where the user has set it.
    """
    import cv2

    logging = cv2.utils.logging
    level = logging.getLogLevel()
    set_by_user = "OPENCV_FFMPEG_LOGLEVEL" in os.environ or "OPENCV_FFMPEG_DEBUG" in os.environ
    try:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        if not set_by_user:
            os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # AV_LOG_QUIET
        yield
    finally:
        logging.setLogLevel(level)
        if not set_by_user:
            os.environ.pop("OPENCV_FFMPEG_LOGLEVEL", None)


def read_capture(capture: Any) -> NDArray[Any] | None:
    """The next frame of an open `cv2.VideoCapture` in OpenCV's channel order; None where it gave none.

    Raises:
        SourceError: OpenCV raised.
    """
    import cv2

    try:
        read, image = capture.read()
    except cv2.error as exc:
        raise SourceError(f"OpenCV failed to read a frame: {exc}") from exc
    return image if read and image is not None else None


class CaptureProducer:
    """Blocking reads from an open `cv2.VideoCapture`, which it owns."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture

    def read(self) -> NDArray[Any] | None:
        """The next frame, in OpenCV's channel order; None where there was none in time.

        Raises:
            SourceError: OpenCV failed.
        """
        return read_capture(self._capture)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


def promised_frames(capture: Any) -> int | None:
    """How many frames the container of an open `cv2.VideoCapture` promises; None where it promises nothing."""
    import cv2

    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if math.isfinite(count) and 1 <= count < _MOST_FRAMES else None


def stated_rate(capture: Any) -> float | None:
    """Frames a second by the container of an open `cv2.VideoCapture`; None where it says none that can be true."""
    import cv2

    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if math.isfinite(rate) and 0 < rate <= _HIGHEST_RATE else None


def position_s(capture: Any) -> float:
    """Time stamp of the latest frame of an open `cv2.VideoCapture`, in seconds; 0 where it has none."""
    import cv2

    stamp_ms = float(capture.get(cv2.CAP_PROP_POS_MSEC))
    return stamp_ms / 1000 if math.isfinite(stamp_ms) and stamp_ms > 0 else 0.0
