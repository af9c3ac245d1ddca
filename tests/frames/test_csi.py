from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from moase_edge.errors import SourceError
from moase_edge.frames import csi
from moase_edge.frames.csi import GstLaunch, csi_pipeline
from tests.debian import needs_debian


def test_the_pipeline_of_a_csi_camera_names_sensor_size_and_rate() -> None:
    assert csi_pipeline(1, width=1920, height=1080, rate=15) == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=15/1,format=NV12 ! "
        "nvvidconv ! video/x-raw,width=1920,height=1080,format=BGRx ! "
        "queue leaky=downstream max-size-buffers=1 ! "
        "videoconvert ! video/x-raw,width=1920,height=1080,format=BGR"
    )


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
    needs_debian()
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
    needs_debian()
    camera = GstLaunch(bars(64, 48, "num-buffers=2 "), width=64, height=48)
    camera.read()
    camera.read()
    with pytest.raises(SourceError, match="the camera is gone"):
        camera.read()
    camera.close()


@pytest.mark.debian
def test_a_pipeline_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_debian()
    monkeypatch.setattr(csi, "_END_S", 0.1)
    camera = GstLaunch(bars(64, 48), width=64, height=48)
    pid = camera.pid
    os.kill(pid, signal.SIGSTOP)
    camera.close()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.debian
def test_a_camera_that_is_not_there_is_refused_and_gstreamer_quoted(capfd: pytest.CaptureFixture[str]) -> None:
    needs_debian()
    with pytest.raises(SourceError, match="the camera is gone, or was never there"):
        GstLaunch(csi_pipeline(0), width=csi.WIDTH, height=csi.HEIGHT)
    assert "nvarguscamerasrc" in capfd.readouterr().err
