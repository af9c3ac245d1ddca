"""Cameras that the system offers as /dev/videoN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from moase_edge.errors import SourceError
from moase_edge.frames.opencv import quiet_opencv, read_capture

_DEV = Path("/dev")


class CameraProducer:
    """Blocking reads from camera `index` through OpenCV and V4L2."""

    def __init__(self, index: int, *, dev: Path = _DEV) -> None:
        """Open `dev`/video`index`.

        Raises:
            SourceError: there is no such camera, or it cannot be opened; the message lists those that exist.
        """
        import cv2

        node = camera_node(index, dev=dev)
        with quiet_opencv():
            self._capture = cv2.VideoCapture(index, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SourceError(
                f"the camera {node} cannot be opened: used by another program, not permitted (group "
                f"`video`), or a node without pictures, as many cameras have beside their own; {_cameras_in(dev)}"
            )

    def read(self) -> NDArray[Any] | None:
        """The next frame, in OpenCV's channel order; None where the camera gave none in time.

        Raises:
            SourceError: OpenCV failed.
        """
        return read_capture(self._capture)

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def camera_node(index: int, *, dev: Path = _DEV) -> Path:
    """The device of camera `index`.

    Raises:
        SourceError: there is none; the message lists those that exist.
    """
    node = dev / f"video{index}"
    if not node.exists():
        raise SourceError(f"there is no camera {node}; {_cameras_in(dev)}")
    return node


def _cameras_in(dev: Path) -> str:
    nodes = sorted(dev.glob("video[0-9]*"), key=lambda node: (len(node.name), node.name))
    return f"there are {', '.join(map(str, nodes))}" if nodes else f"{dev} has no video device at all"
