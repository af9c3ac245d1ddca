from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.errors import SourceError
from moase_edge.frames.camera import open_camera


def bgr(height: int = 2, width: int = 3) -> NDArray[np.uint8]:
    return np.full((height, width, 3), (1, 2, 3), np.uint8)


class FakeCapture:
    """Stands for cv2.VideoCapture: gives `script`, then nothing."""

    opens: ClassVar[bool] = True
    script: ClassVar[list[NDArray[Any] | Exception | None]] = []
    made: ClassVar[list[FakeCapture]] = []

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.released = False
        self._rest = list(self.script)
        self.made.append(self)

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def read(self) -> tuple[bool, NDArray[Any] | None]:
        given = self._rest.pop(0) if self._rest else None
        if isinstance(given, Exception):
            raise given
        return given is not None, given

    def release(self) -> None:
        self.released = True


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    class Capture(FakeCapture):
        made: ClassVar[list[FakeCapture]] = []

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return Capture


def test_a_camera_is_opened_by_its_index_read_and_released(tmp_path: Path, capture: type[FakeCapture]) -> None:
    (tmp_path / "video2").touch()
    capture.script = [bgr(), None]
    camera = open_camera(2, dev=tmp_path)
    image = camera.read()
    assert image is not None
    assert (image == bgr()).all()
    assert camera.read() is None
    camera.close()
    assert capture.made[0].arguments == (2, cv2.CAP_V4L2)
    assert capture.made[0].released


def test_what_opencv_raises_is_a_source_error(tmp_path: Path, capture: type[FakeCapture]) -> None:
    (tmp_path / "video2").touch()
    capture.script = [cv2.error("broken")]
    with pytest.raises(SourceError, match="broken"):
        open_camera(2, dev=tmp_path).read()


def test_a_missing_camera_is_named_with_those_that_exist(tmp_path: Path, capture: type[FakeCapture]) -> None:
    for node in ("video10", "video2", "null"):
        (tmp_path / node).touch()
    with pytest.raises(SourceError, match=r"no camera .*video7; there are .*video2, .*video10$"):
        open_camera(7, dev=tmp_path)
    assert capture.made == []


def test_where_there_is_no_camera_at_all_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no video device at all"):
        open_camera(0, dev=tmp_path)


def test_a_camera_that_does_not_open_lists_the_others(tmp_path: Path, capture: type[FakeCapture]) -> None:
    capture.opens = False
    for node in ("video0", "video1"):
        (tmp_path / node).touch()
    with pytest.raises(SourceError, match=r"video1 cannot be opened: .*there are .*video0, .*video1"):
        open_camera(1, dev=tmp_path)
