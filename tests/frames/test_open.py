from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from moase_edge.config.source import SourceSettings
from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames import open as open_module
from moase_edge.frames.child_process import ChildGrabber
from moase_edge.frames.images import ImagesSource
from moase_edge.frames.open import open_source
from moase_edge.frames.video import VideoSource
from tests.frames.test_live import FakeGrabber
from tests.frames.test_video import write_video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "c [1].png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def names(uri: str | Path) -> list[str | None]:
    with open_source(str(uri)) as source:
        assert isinstance(source, ImagesSource)
        return [frame.name for frame in source.frames()]


def test_a_folder_gives_its_pictures_by_name(folder: Path) -> None:
    assert names(folder) == ["a.png", "b.png", "c [1].png"]


def test_a_single_picture_gives_one_frame(folder: Path) -> None:
    assert names(folder / "b.png") == ["b.png"]


def test_a_pattern_gives_what_matches_sorted(folder: Path) -> None:
    (folder / "sub").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "sub" / "0.png")
    assert names(folder / "[ab].png") == ["a.png", "b.png"]
    assert names(folder / "**" / "?.png") == ["a.png", "b.png", "0.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    assert names(folder / "c [1].png") == ["c [1].png"]


def test_a_pattern_counts_the_files_that_are_no_pictures(folder: Path) -> None:
    source = open_source(str(folder / "*"))
    assert source.length == 4
    assert [frame.name for frame in source.frames()] == ["a.png", "b.png", "c [1].png"]
    assert source.counts.skipped == 1


@pytest.mark.parametrize("name", ["a.avi", "a.bin", "a:b.avi"])
def test_any_other_file_is_tried_as_a_video(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "x.avi", frames=3).rename(tmp_path / name)
    with open_source(str(tmp_path / name)) as source:
        assert isinstance(source, VideoSource)
        assert len(list(source.frames())) == 3


def test_a_file_that_is_neither_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"no frame of .*notes\.txt"):
        open_source(str(folder / "notes.txt"))


def test_the_home_folder_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert names("~/a.png") == ["a.png"]
    assert names("~/[b]*.png") == ["b.png"]


@pytest.mark.parametrize("uri", ["9999", "camera:9999", "/dev/video9999", "v4l2:/dev/video9999", "v4l2:9999"])
def test_numbers_are_cameras(uri: str) -> None:
    with pytest.raises(SourceError, match="there is no camera /dev/video9999"):
        open_source(uri)


@pytest.mark.parametrize("wrong", ["folder", "pattern"])
def test_nothing_to_run_is_a_configuration_error(tmp_path: Path, wrong: str) -> None:
    uri = tmp_path if wrong == "folder" else tmp_path / "*.png"
    with pytest.raises(ConfigError, match="nothing to read"):
        open_source(str(uri))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtmp://admin:secret@cam/1", "rtmp://***@cam/1"),
        ("srt://cam/*?token=secret", "srt://cam/*?token=***"),
        ("rtsp:cam", "rtsp:cam"),
        ("csi://front", "csi://front"),
        ("v4l2:front", "v4l2:front"),
        ("gopher://x", "gopher://x"),
        ("camera:front", "camera:front"),
        ("camera:-1", "camera:-1"),
        ("", ""),
    ],
)
def test_forms_that_are_not_accepted_list_those_that_are(uri: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(uri)
    message = str(caught.value)
    assert repr(shown) in message
    for accepted in (
        "camera:0",
        "csi://0",
        "rtsp://",
        "http://",
        "udp://",
        "video file",
        "picture file",
        "folder",
        "pattern",
    ):
        assert accepted in message
    assert "secret" not in message


@pytest.mark.parametrize("uri", ["gone.mp4", "gone.jpg", "gone/", "~nobody-of-that-name/x", "x" * 5000, "a\0b"])
def test_what_does_not_exist_is_a_source_error(uri: str) -> None:
    with pytest.raises(SourceError, match=r"no file or folder|cannot look up"):
        open_source(uri)


def test_a_folder_of_videos_names_one_of_them(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.mkv", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError) as caught:
        open_source(str(tmp_path))
    assert f"holds no picture, but 2 videos. Name one: {tmp_path / 'a.mkv'}" in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["csi://0", "csi:0", "rtsp://a:b@cam/1", "RTSPS://cam", "http://cam/v", "udp://@239.0.0.1:1"]
)
def test_live_sources_are_read_by_a_child(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, SourceSettings]] = []

    def grabber(address: str, settings: SourceSettings, **_: object) -> ChildGrabber:
        asked.append((address, settings))
        raise SourceError("not now")

    monkeypatch.setattr(open_module, "ChildGrabber", grabber)
    settings = SourceSettings(wait_s=3)
    with pytest.raises(SourceError, match="not now"):
        open_source(uri, settings=settings)
    assert asked == [("csi://0" if uri == "csi:0" else uri, settings)]


def test_a_stable_name_leads_to_its_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda path: "/dev/video9997")
    with pytest.raises(SourceError, match="there is no camera /dev/video9997"):
        open_source("/dev/v4l/by-id/usb-camera")


def test_a_video_at_real_pace_is_live_and_at_full_pace_waits(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "x.avi", frames=3))
    with (
        open_source(path, pace="real") as real,
        open_source(path, pace="full") as full,
        open_source(path) as plain,
    ):
        assert (real.live, full.live, plain.live) == (True, False, False)
        assert len(list(plain.frames())) == 3


def test_pictures_have_no_clock_and_a_camera_no_other_pace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"is pictures, which have no clock; --pace real plays a video"):
        open_source(str(folder), pace="real")
    monkeypatch.setattr(open_module, "ChildGrabber", lambda *_, **__: FakeGrabber([]))
    with pytest.raises(ConfigError, match="rtsp://cam comes at its own pace"):
        open_source("rtsp://cam", pace="full")
    assert open_source("rtsp://cam", pace="real").live


def test_credentials_in_a_mistyped_address_do_not_show() -> None:
    with pytest.raises(SourceError) as caught:
        open_source("admin:secret@10.0.0.2/stream")
    assert "secret" not in str(caught.value)
