from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from moase_edge.cli import main
from tests.cli.commands import write_pictures, write_video


@pytest.fixture
def artifact(digits_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_artifact, tmp_path / "artifacts" / "digits"))


def ends(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return int(end.value.code or 0), " ".join(shown.out.split()), shown.err


def test_pictures_are_recorded_and_inspect_tells_of_them(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = write_pictures(tmp_path / "gate", 3)
    code, out, err = ends(["calibrate", "--source", pictures, "--artifact", artifact], capsys)
    assert code == 0, err
    assert "source statistics: from 3 images of gate by calibrate, fp32, ONNX Runtime" in out
    code, out, _ = ends(["inspect", artifact], capsys)
    assert code == 0
    assert "from 3 images of gate by calibrate" in out
    assert "6 files, every hash as the manifest says" in out
    code, _, err = ends(["run", "--artifact", artifact, "--source", pictures, "--report", tmp_path / "r"], capsys)
    assert code == 0, err


def write_noise(folder: Path, count: int) -> Path:
    """A folder of `count` pictures that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    return folder


def test_frames_of_the_deployment_give_an_int8_engine_and_a_report(
    artifact: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    frames = write_noise(tmp_path / "gate", 6)
    more = ["--method", "minmax", "--max-drop", "100", "--min-int8", "0", "--report", tmp_path / "report"]
    code, out, err = ends(["calibrate", "--calib-data", frames, "--artifact", artifact, *more], capsys)
    assert code == 0, err
    assert "ranges are taken from 6 frames" in caplog.text
    assert "measuring the sensitivity of each layer" in err
    assert "int8 engine: backbone.int8.onnx Ranges by minmax" in out
    assert (tmp_path / "report" / "report.html").is_file()
    code, out, _ = ends(["inspect", artifact], capsys)
    assert code == 0
    assert "backbone.int8.onnx: onnx, int8" in out


def test_a_video_is_taken_and_only_so_many_frames_of_it(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    video = write_video(tmp_path / "yard.avi", 6)
    code, out, err = ends(["calibrate", "--source", video, "--max-frames", "4"], capsys)
    assert code == 0, err
    assert "artifacts/digits source statistics: from 4 images of yard.avi" in out


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--source", "absent"], 1, "there is no file or folder 'absent'"),
        (["--source", "one"], 1, "source statistics need 2 images at least"),
        (["--source", "empty"], 2, "holds no picture"),
        (["--source", "two", "--artifact", "absent"], 4, "no artifact at absent"),
        (["--source", "two", "--max-frames", "1"], 2, "--max-frames"),
        ([], 2, "nothing to calibrate: name images of the source domain with --source"),
        (["--source", "two", "--first", "--method", "mse"], 2, "--method, --first need --calib-data"),
        (["--calib-data", "two", "--max-frames", "3"], 2, "--max-frames needs --source"),
        (["--calib-data", "absent"], 1, "there is no file or folder 'absent'"),
        (["--calib-data", "empty"], 2, "holds no picture"),
        (["--calib-data", "plain"], 1, "has one colour only"),
        (["--calib-data", "two"], 1, "2 calibration frames that differ are too few"),
        (["--calib-data", "two", "--method", "best"], 2, "--method"),
        (["--calib-data", "two", "--max-drop", "-1"], 2, "--max-drop"),
        (["--calib-data", "two", "--report", "two"], 2, "it is not replaced, not even"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    more: list[str],
    code: int,
    words: str,
    artifact: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, count in (("one", 1), ("empty", 0), ("plain", 3)):
        write_pictures(tmp_path / name, count)
    write_noise(tmp_path / "two", 2)
    manifest = (artifact / "manifest.json").read_bytes()
    found, _, said = ends(["calibrate", *more], capsys)
    assert found == code, said
    assert words in said
    assert "Traceback" not in said
    assert (artifact / "manifest.json").read_bytes() == manifest
