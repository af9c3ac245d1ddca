"""Cameras that the system offers as /dev/videoN."""

from __future__ import annotations

from pathlib import Path

from moase_edge.errors import SourceError
from moase_edge.frames.opencv import CaptureProducer, quiet_opencv

_DEV = Path("/dev")


def open_camera(index: int, *, dev: Path = _DEV) -> CaptureProducer:
    """Open `dev`/video`index` through OpenCV and V4L2; its reads block.

    Raises:
        SourceError: there is no such camera, or it cannot be opened; the message lists those that exist.
    """
    import cv2

    node = camera_node(index, dev=dev)
    with quiet_opencv():
        capture = cv2.VideoCapture(index, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceError(
            f"the camera {node} cannot be opened: used by another program, not permitted (group "
            f"`video`), or a node without pictures, as many cameras have beside their own; {_cameras_in(dev)}"
        )
    return CaptureProducer(capture)


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
