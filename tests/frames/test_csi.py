from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import cv2
import pytest

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames import csi
from moase_edge.frames.csi import GstLaunch, csi_pipeline, open_csi
from moase_edge.frames.open import open_source
from tests.debian import needs_debian
from tests.frames.processes import is_gone, the_child, wait_for
from tests.frames.test_child_process import PATIENT


def test_the_pipeline_of_a_csi_camera_names_sensor_size_and_rate() -> None:
    assert csi_pipeline(1, width=1920, height=1080, rate=15) == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=15/1,format=NV12 ! "
        "nvvidconv ! video/x-raw,width=1920,height=1080,format=BGRx ! "
        "queue leaky=downstream max-size-buffers=1 ! "
        "videoconvert ! video/x-raw,width=1920,height=1080,format=BGR"
    )


def test_an_opencv_with_gstreamer_needs_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    class Capture:
        def __init__(self, *arguments: object) -> None:
            asked.append(arguments)

        def isOpened(self) -> bool:  # noqa: N802
            return len(asked) == 1

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda backend: backend == cv2.CAP_GSTREAMER)
    open_csi("csi://1", SourceSettings())
    assert asked == [(f"{csi_pipeline(1)} ! appsink drop=true max-buffers=1", cv2.CAP_GSTREAMER)]
    with pytest.raises(
        SourceError, match=r"cannot start the camera; try: gst-launch-1.0 nvarguscamerasrc sensor-id=1"
    ):
        open_csi("csi://1", SourceSettings())


def test_without_gstreamer_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SourceError, match=r"or gst-launch-1.0: apt-get install gstreamer1.0-tools"):
        GstLaunch("videotestsrc", width=4, height=4)


def bars(width: int, height: int, more: str = "") -> str:
    """A pipeline as a camera's: eight vertical bars, the first white, the second yellow."""
    return f"videotestsrc pattern=smpte75 {more}! video/x-raw,width={width},height={height},format=BGR"


@pytest.mark.debian
@pytest.mark.parametrize("width", [320, 70])  # rows of 70 pixels are padded
def test_pictures_come_through_the_pipe_in_bgr(width: int) -> None:
    needs_debian("gst-launch-1.0")
    camera = GstLaunch(bars(width, 48), width=width, height=48)
    for _ in range(3):
        image = camera.read()
        assert image.shape == (48, width, 3)
        blue, green, red = (int(value) for value in image[4, width // 7 + 5])
        assert blue < 30
        assert green > 150
        assert red > 150
    camera.close()


@pytest.mark.debian
def test_a_pipeline_that_ends_or_is_killed_is_a_lost_camera() -> None:
    needs_debian("gst-launch-1.0")
    camera = GstLaunch(bars(64, 48, "num-buffers=2 "), width=64, height=48)
    camera.read()
    camera.read()
    with pytest.raises(SourceError, match="the camera is gone"):
        camera.read()
    camera.close()


@pytest.mark.debian
def test_a_pipeline_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_debian("gst-launch-1.0")
    monkeypatch.setattr(csi, "_END_S", 0.1)
    camera = GstLaunch(bars(64, 48), width=64, height=48)
    pid = camera.pid
    os.kill(pid, signal.SIGSTOP)
    camera.close()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.debian
def test_a_camera_that_is_not_there_is_refused_and_gstreamer_quoted(capfd: pytest.CaptureFixture[str]) -> None:
    needs_debian("gst-launch-1.0")
    with pytest.raises(SourceError, match="the camera is gone, or was never there"):
        GstLaunch(csi_pipeline(0), width=csi.WIDTH, height=csi.HEIGHT)
    assert "nvarguscamerasrc" in capfd.readouterr().err


PRETENDED = """#!{python}
import os, pathlib, sys
folder = pathlib.Path({folder!r})
(folder / "asked").write_text(" ".join(sys.argv[1:]))
(folder / "pid").write_text(str(os.getpid()))
while True:
    os.write(1, bytes([7]) * ({width} * {height} * 3))
"""


@pytest.fixture
def pretended_gstreamer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gst-launch-1.0 that gives pictures without a camera; the folder where it says what it was asked."""
    program = tmp_path / csi.PROGRAM
    program.write_text(
        PRETENDED.format(python=sys.executable, folder=str(tmp_path), width=csi.WIDTH, height=csi.HEIGHT)
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.skipif(
    cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER),
    reason="this OpenCV has GStreamer and needs no child for it",
)
def test_a_csi_camera_is_read_through_gst_launch_which_ends_with_its_reader(pretended_gstreamer: Path) -> None:
    def launched() -> int:
        return int((pretended_gstreamer / "pid").read_text())

    with open_source("csi://0", settings=PATIENT) as source:
        frames = source.frames()
        assert (next(frames).image == 7).all()
        assert source.counts.size == (csi.HEIGHT, csi.WIDTH)
        asked = (pretended_gstreamer / "asked").read_text()
        assert asked == f"-q {csi_pipeline(0)} ! fdsink fd=1"
        first = launched()
        os.kill(the_child(), signal.SIGKILL)
        next(frames)
        wait_for(lambda: is_gone(first))
        assert source.counts.reopened == 1
        second = launched()
        assert second != first
    wait_for(lambda: is_gone(second))
