"""The Jetson's CSI cameras, whose pictures come through GStreamer."""

from __future__ import annotations

import ctypes
import shutil
import signal
import subprocess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames.newest import Producer
from moase_edge.frames.opencv import CaptureProducer, quiet_opencv

WIDTH, HEIGHT, RATE = 1280, 720, 30  # every Jetson camera in use has a mode of at least these
PROGRAM = "gst-launch-1.0"
_END_S = 0.8
_PR_SET_PDEATHSIG = 1
# Opened here: between fork and exec a lock of the loader may be held for ever.
_LIBC = ctypes.CDLL(None)


def csi_pipeline(sensor: int, *, width: int = WIDTH, height: int = HEIGHT, rate: int = RATE) -> str:
    """The GStreamer pipeline that gives a CSI camera's pictures as BGR, without its sink.

    The converter of the Jetson has no BGR, so the last step from BGRx runs on the processor. Of a queue that is
    full the oldest picture goes.

    Args:
        sensor: number of the camera.
        width, height, rate: of the pictures, in pixels and per second.
    """
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={rate}/1,format=NV12 ! "
        f"nvvidconv ! video/x-raw,width={width},height={height},format=BGRx ! "
        "queue leaky=downstream max-size-buffers=1 ! "
        f"videoconvert ! video/x-raw,width={width},height={height},format=BGR"
    )


def open_csi(uri: str, _settings: SourceSettings) -> Producer:
    """`csi://N`, through OpenCV where it has GStreamer, else through a child that runs gst-launch-1.0.

    Raises:
        SourceError: neither is there, or the camera cannot be opened.
    """
    import cv2

    pipeline = csi_pipeline(int(uri.removeprefix("csi://")))
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        return open_pipeline(pipeline)
    return GstLaunch(pipeline, width=WIDTH, height=HEIGHT)


def open_pipeline(pipeline: str) -> CaptureProducer:
    """Start a pipeline, which gives BGR and has no sink yet, in an OpenCV that was built with GStreamer.

    Raises:
        SourceError: it does not start.
    """
    import cv2

    with quiet_opencv():
        capture = cv2.VideoCapture(f"{pipeline} ! appsink drop=true max-buffers=1", cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise SourceError(f"GStreamer cannot start the camera; try: {PROGRAM} {pipeline} ! fakesink")
    return CaptureProducer(capture)


class GstLaunch:
    """A pipeline in a child of its own, which writes raw pictures to a pipe."""

    def __init__(self, pipeline: str, *, width: int, height: int) -> None:
        """Start `pipeline`, which gives BGR of `height` x `width` and has no sink yet, and wait for a picture.

        Raises:
            SourceError: gst-launch-1.0 is not installed, or the pipeline gives no picture.
        """
        if shutil.which(PROGRAM) is None:
            raise SourceError(
                f"a CSI camera needs an OpenCV that was built with GStreamer, or {PROGRAM}: "
                "apt-get install gstreamer1.0-tools"
            )
        # Rows of BGR are padded to four bytes by GStreamer.
        self._shape = (height, -(-width * 3 // 4) * 4)
        self._width = width
        self._process = subprocess.Popen(
            [PROGRAM, "-q", *pipeline.split(), "!", "fdsink", "fd=1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - it makes one system call
        )
        self.pid = self._process.pid
        self._first: NDArray[Any] | None = None
        try:
            self._first = self.read()
        except SourceError:
            self.close()
            raise

    def read(self) -> NDArray[Any]:
        """The next frame, H x W x 3, BGR.

        Raises:
            SourceError: the pipeline ended.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        rows = np.empty(self._shape, np.uint8)
        pipe = self._process.stdout
        if pipe is None or _read_into(pipe, rows.reshape(-1).data) < rows.nbytes:
            raise SourceError(f"{PROGRAM} ended: the camera is gone, or was never there")
        return rows[:, : 3 * self._width].reshape(self._shape[0], self._width, 3)

    def close(self) -> None:
        """Stop the pipeline as Ctrl-C would: the Jetson's camera daemon does not forgive a kill."""
        self._process.send_signal(signal.SIGINT)
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _read_into(pipe: Any, buffer: memoryview) -> int:
    """Fill `buffer`; fewer bytes came where the pipe ended."""
    done = 0
    while done < len(buffer) and (count := pipe.readinto(buffer[done:])):
        done += count
    return done


def _die_with_parent() -> None:
    """Ask the kernel for a signal when the process that reads the pipe is gone, even if it was killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
