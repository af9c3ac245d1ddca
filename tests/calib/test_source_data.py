from __future__ import annotations

from pathlib import Path

import pytest

from moase_edge.calib import source_data
from moase_edge.calib.source_data import open_source_data, plain_name
from moase_edge.errors import CalibrationError, ConfigError, SourceError
from tests.cli.commands import write_pictures
from tests.runtime.fakes import ListSource


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("photos", "photos"),
        ("/home/someone/photos/", "photos"),
        ("a/b/*.jpg", "b"),
        ("a/b/**/*.jpg", "b"),
        ("a/yard.mp4", "yard.mp4"),
        ("/*.jpg", "pictures"),
    ],
)
def test_of_a_place_the_last_name_alone_is_kept(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_of_the_current_folder_its_own_name_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    assert [plain_name(name) for name in (".", "*.png", "../photos")] == ["photos"] * 3
    assert plain_name("..") == tmp_path.name


def test_a_camera_is_refused_and_released(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = ListSource([])
    camera.live, camera.name = True, "camera:0"
    monkeypatch.setattr(source_data, "open_source", lambda uri: camera)
    with pytest.raises(ConfigError, match="camera:0 is live"):
        open_source_data("0")
    assert camera.closed == 1


def test_a_single_picture_is_too_few_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"need 2 images at least.*got 1"):
        open_source_data(str(write_pictures(tmp_path / "one", 1)))


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no file or folder"):
        open_source_data(str(tmp_path / "absent"))
