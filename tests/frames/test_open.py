from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames.images import ImagesSource
from moase_edge.frames.open import open_source
from moase_edge.frames.video import VideoSource
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


@pytest.mark.parametrize("uri", ["9999", "camera:9999", "/dev/video9999"])
def test_numbers_are_cameras(uri: str) -> None:
    with pytest.raises(SourceError, match="there is no camera /dev/video9999"):
        open_source(uri)


@pytest.mark.parametrize("wrong", ["folder", "pattern"])
def test_nothing_to_run_is_a_configuration_error(tmp_path: Path, wrong: str) -> None:
    uri = tmp_path if wrong == "folder" else tmp_path / "*.png"
    with pytest.raises(ConfigError, match="nothing to run"):
        open_source(str(uri))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:secret@cam/1", "rtsp://***@cam/1"),
        ("http://cam/*?token=secret", "http://cam/*?token=***"),
        ("https://cam/v", "https://cam/v"),
        ("udp://@239.0.0.1:1234", "udp://***@239.0.0.1:1234"),
        ("csi://0", "csi://0"),
        ("csi:0", "csi:0"),
        ("v4l2:/dev/video0", "v4l2:/dev/video0"),
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
    for accepted in ("camera:0", "video file", "picture file", "folder", "pattern"):
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


@pytest.mark.parametrize("uri", ["rtsp://cam/1", "HTTP://cam/v.mp4", "udp://@239.0.0.1:1234", "rtsp:cam"])
def test_network_streams_are_said_to_be_unsupported(uri: str) -> None:
    with pytest.raises(ConfigError, match="network streams are not supported yet"):
        open_source(uri)


def test_credentials_in_a_mistyped_address_do_not_show() -> None:
    with pytest.raises(SourceError) as caught:
        open_source("admin:secret@10.0.0.2/stream")
    assert "secret" not in str(caught.value)
