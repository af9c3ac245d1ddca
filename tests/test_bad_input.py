"""Bad input on the command line: the right exit code, one clear message, nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from moase_edge.cli import main


@pytest.fixture
def artifact(digits_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_artifact, tmp_path / "artifact"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        Image.new("RGB", (40, 30), (index * 60, 90, 200)).save(folder / f"{index}.png")
    return folder


def ends(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of one command."""
    code = 0
    try:
        main(arguments)
    except SystemExit as exc:
        code = int(exc.code or 0)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return code, said


def run_on(source: object, artifact: Path, *more: str) -> list[str]:
    return ["run", "--artifact", str(artifact), "--source", str(source), *more]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--backbone", "vit_b61"], 2, "vit_b16"),
        (["--backbone", "resnet18", "--no-pretrained"], 2, "vit_b16"),
        (["--backbone", "vit_t16", "--no-pretrained", "--experts", "3", "--rank", "2"], 2, "multiple of 2"),
        (["--backbone", "vit_t16", "--no-pretrained", "--adapt-blocks", "13"], 2, "1 to 12"),
        (["--backbone", "vit_t16", "--checkpoint", "absent.pth"], 1, "absent.pth"),
        (["--backbone", "vit_t16", "--checkpoint", "x.pth", "--pretrained"], 2, "exclude"),
    ],
)
def test_export_refuses_and_writes_nothing(
    arguments: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, said = ends(["export", *arguments, "--out", str(tmp_path / "out")], capsys)
    assert found == code, said
    assert words in said
    assert not list(tmp_path.iterdir())


def test_pretrained_weights_that_cannot_be_fetched_name_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("moase_edge.models.build._reach", refuse)
    code, said = ends(["export", "--backbone", "vit_t16", "--out", str(tmp_path / "out")], capsys)
    assert code == 1
    assert "--checkpoint" in said
    assert "--no-pretrained" in said


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "code", "missing", "shape", "nan"])
def test_checkpoints_that_cannot_be_used_are_refused(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.safetensors"
    sentinel = tmp_path / "ran"
    state = timm.create_model("deit_tiny_patch16_224", num_classes=3).state_dict()
    if damage == "missing":
        del state["norm.weight"]
    if damage == "shape":
        state["norm.weight"] = torch.zeros(7)
    if damage == "nan":
        state["norm.weight"][0] = float("nan")
    save_file(state, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    if damage == "text":
        path.write_text("weights")
    if damage == "empty":
        path.write_bytes(b"")
    if damage == "code":
        path = tmp_path / "weights.pth"
        torch.save({"model": _Runs(str(sentinel))}, path)
    out = tmp_path / "out"
    code, said = ends(["export", "--backbone", "deit_tiny", "--checkpoint", str(path), "--out", str(out)], capsys)
    assert code == 1, said
    assert str(path) in said
    assert not sentinel.exists()
    assert not out.exists()
    if damage in ("missing", "shape", "nan"):
        assert "norm.weight" in said


class _Runs:
    """An object whose unpickling would leave a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (self.path, "w"))


def test_nested_checkpoints_are_undone(tmp_path: Path) -> None:
    from moase_edge.models.checkpoint import read_checkpoint

    state = {"blocks.0.weight": torch.ones(2), "head.weight": torch.zeros(3, 2)}
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    for content in (state, {"model": state}, {"state_dict": wrapped, "epoch": 3}, {"model_ema": wrapped}):
        torch.save(content, tmp_path / "nested.pth")
        read = read_checkpoint(tmp_path / "nested.pth")
        assert read.keys() == state.keys()


@pytest.mark.parametrize(
    "name", ["manifest.json", "backbone.onnx", "sidecar.safetensors", "parity.json", "reproduce.sh"]
)
def test_an_artifact_with_a_changed_byte_is_refused(
    name: str, artifact: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = artifact / name
    content = bytearray(path.read_bytes())
    place = content.index(b"digits_vit") if name in ("manifest.json", "reproduce.sh") else len(content) // 2
    content[place] ^= 1
    path.write_bytes(content)
    code, said = ends(run_on(pictures, artifact), capsys)
    assert code == 4
    assert name in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"surprise": 1}, "surprise"),
        ({"files": {"../outside": "0" * 64}}, "leaves"),
        ({"files": {"/etc/passwd": "0" * 64}}, "leaves"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(
    change: dict[str, object], words: str, artifact: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = artifact / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    code, said = ends(run_on(pictures, artifact), capsys)
    assert code == 4
    assert words in said


def test_a_missing_file_and_a_link_that_leaves_the_folder_are_refused(
    artifact: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "elsewhere.onnx"
    (artifact / "backbone.onnx").rename(moved)
    code, said = ends(run_on(pictures, artifact), capsys)
    assert (code, "missing" in said) == (4, True)
    (artifact / "backbone.onnx").symlink_to(moved)
    code, said = ends(run_on(pictures, artifact), capsys)
    assert (code, "link" in said) == (4, True)


def test_where_there_is_no_artifact_the_export_command_is_named(
    pictures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = ends(["run", "--source", str(pictures)], capsys)
    assert (code, "moase-edge export" in said) == (2, True)


def test_sources_that_cannot_be_read_are_named(
    digits_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "no.jpg").write_text("no picture")
    for source, code in (("camera:63", 1), ("empty.mp4", 1), ("texts", 1), ("absent.mp4", 1), ("gopher://x/y", 2)):
        found, said = ends(run_on(source, digits_artifact), capsys)
        assert found == code, said
        assert "error:" in said


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--adapt", "sometimes"], 2, "every-N"),
        (["--emit", "xml:-"], 2, "jsonl:-"),
        (["--camera", "0"], 2, "one source"),
        (["--settings", "settings.json"], 2, "2 faults"),
        (["--engine", "ort-cuda"], 4, "ort"),
        (["--engine", "ort-tensorrt"], 4, "TensorrtExecutionProvider"),
        (["--engine", "tensorrt"], 4, "export --rebuild"),
    ],
)
def test_wrong_options_are_refused_with_the_right_ones(
    more: list[str],
    code: int,
    words: str,
    digits_artifact: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.json").write_text('{"lr": -1, "momentum": 0.9}')
    found, said = ends(run_on(pictures, digits_artifact, *more), capsys)
    assert found == code, said
    assert words in said
    assert not (tmp_path / "reports").exists()


def test_a_damaged_video_is_answered_as_far_as_it_goes(
    digits_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(20):
        writer.write(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    writer.release()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, said = ends(run_on(cut, digits_artifact, "--report", str(tmp_path / "report")), capsys)
    assert code == 0, said
    assert 0 < len((tmp_path / "report" / "frames.jsonl").read_text().splitlines()) < 20


def test_odd_pictures_are_converted_or_skipped_and_counted(
    digits_artifact: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (40, 30)).save(pictures / "grey.png")
    Image.new("RGBA", (20, 50)).save(pictures / "rgba.png")
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    report = tmp_path / "report"
    code, said = ends(run_on(pictures, digits_artifact, "--report", str(report)), capsys)
    assert code == 0, said
    counts = json.loads((report / "summary.json").read_text())["source_counts"]
    assert (counts["delivered"], counts["converted"], counts["skipped"], counts["resized"]) == (5, 2, 1, 1)


def test_a_report_that_exists_needs_force_and_foreign_files_stay(
    digits_artifact: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    command = run_on(pictures, digits_artifact, "--report", str(report))
    assert ends(command, capsys)[0] == 0
    (report / "notes.txt").write_text("mine")
    code, said = ends(command, capsys)
    assert (code, "--force" in said) == (2, True)
    assert ends([*command, "--force"], capsys)[0] == 0
    assert (report / "notes.txt").read_text() == "mine"
    assert len((report / "frames.jsonl").read_text().splitlines()) == 3
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("precious")
    assert ends([*run_on(pictures, digits_artifact, "--report", str(home)), "--force"], capsys)[0] == 2
    assert (home / "thesis.txt").exists()


def test_an_artifact_that_exists_needs_force_and_other_folders_are_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("precious")
    command = ["export", "--backbone", "digits_vit", "--out", str(home)]
    assert ends(command, capsys)[0] == 2
    assert ends([*command, "--force"], capsys)[0] == 2
    assert [path.name for path in home.iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("x")
    assert ends([*command[:-1], str(tmp_path / "file" / "below")], capsys)[0] == 1
