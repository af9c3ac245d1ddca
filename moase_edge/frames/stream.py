"""Network streams that OpenCV's FFmpeg reads: RTSP, UDP, and over HTTP whatever is no MJPEG."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from numpy.typing import NDArray

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames.opencv import promised_frames, quiet_opencv, read_capture
from moase_edge.frames.redact import redact

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_ERRORS = "16"  # AV_LOG_ERROR
# In a row, 20 ms apart. Between two pictures FFmpeg itself reads on past what it cannot decode.
_MOST_FAILED_READS = 50


class StreamProducer:
    """Blocking reads from a stream, in a process whose environment it may change.

    FFmpeg is asked to hold nothing back. A failure's reason is what it writes to standard error.
    """

    def __init__(self, uri: str, settings: SourceSettings) -> None:
        """Open `uri`.

        Raises:
            SourceError: it cannot be opened, or is a file of finite length.
        """
        self._failed = 0
        self._capture = _open(uri, settings)
        if not self._capture.isOpened():
            raise SourceError(f"the stream {redact(uri)} cannot be opened")
        count = promised_frames(self._capture) if uri.lower().startswith("http") else None
        if count is not None:
            self.close()
            raise SourceError(
                f"{redact(uri)} is a video of {count} frames, not a live stream; download it and give its path"
            )

    def read(self) -> NDArray[Any] | None:
        """The next frame, in OpenCV's channel order; None where it gave none.

        Raises:
            SourceError: OpenCV failed, or it gave none many times: the stream ended.
        """
        image = read_capture(self._capture)
        self._failed = 0 if image is not None else self._failed + 1
        if self._failed >= _MOST_FAILED_READS:
            raise SourceError("the stream ended")
        return image

    def close(self) -> None:
        """Hang up."""
        self._capture.release()


def _open(uri: str, settings: SourceSettings) -> Any:
    import cv2

    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        round(1000 * settings.open_s),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        round(1000 * settings.wait_s),
        cv2.CAP_PROP_N_THREADS,
        settings.decode_threads,
    ]
    with _ffmpeg_told(ffmpeg_options(uri, settings)), quiet_opencv():
        return cv2.VideoCapture(_bound_to_loopback(uri), cv2.CAP_FFMPEG, limits)


def ffmpeg_options(uri: str, settings: SourceSettings) -> str:
    """Options for FFmpeg in OpenCV's form, `key;value|key;value`."""
    # Not low_delay: it gives the pictures of a stream with B-frames out of order.
    options = {"fflags": "nobuffer"}
    if uri.lower().startswith("rtsp"):
        options["rtsp_transport"] = settings.rtsp_transport
    return "|".join(f"{name};{value}" for name, value in options.items())


def _bound_to_loopback(uri: str) -> str:
    """For a UDP stream to this machine, an address that nobody else can send to."""
    parts = urlsplit(uri)
    if parts.scheme.lower() != "udp" or "localaddr=" in parts.query or not _is_loopback(parts.hostname):
        return uri
    return f"{uri}{'&' if parts.query else '?'}localaddr={parts.hostname}"


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


@contextmanager
def _ffmpeg_told(options: str) -> Iterator[None]:
    """OpenCV takes FFmpeg's options and log level from the environment; what the user has set there stays."""
    mine = {_OPTIONS: options, _LEVEL: _ERRORS}
    added = [name for name in mine if name not in os.environ]
    os.environ.update({name: mine[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
