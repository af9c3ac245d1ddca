from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from moase_edge.cli import main
from tests.artifact.folders import make_artifact, steerable_fields


@pytest.fixture
def artifact(digits_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_artifact, tmp_path / "artifacts" / "[b]copy"))


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 0) -> str:
    """What the command prints on the stream that fits its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["inspect", *arguments])
    captured = capsys.readouterr()
    assert end.value.code == code, captured.err
    return captured.err if code else captured.out


def test_the_facts_of_the_manifest_are_shown(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown([str(artifact)], capsys)
    manifest = json.loads((artifact / "manifest.json").read_text())
    flat = " ".join(text.split())
    for fact in (
        "digits_vit",
        "6 blocks, 64 channels",
        "pretrained",
        "classify, 10 classes",
        "32x32, center crop 1, ",
        ", mean 0.",
        ", std 0.",
        "4 experts of rank 48",
        "Bx3x32x32",
        "backbone.onnx: onnx, fp32, opset",
        "source statistics │ none",
        "steerable │ no",
    ):
        assert fact in flat, fact
    assert manifest["identity"][:20] in text
    assert f"{len(manifest['files'])} files, every hash as the manifest says" in text
    assert "[b]copy" in "".join(text.split())


def test_what_an_engine_takes_and_gives_that_can_be_steered_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_artifact(tmp_path / "tiny", **steerable_fields())
    flat = " ".join(shown([str(folder)], capsys).split())
    assert "steerable │ at every block, by `shift`" in flat
    assert "shift │ Bx2x8 moves patch tokens" in flat
    assert "token_means │ Bx2x8 mean patch tokens" in flat


def test_json_is_the_manifest_itself(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = json.loads(shown([str(artifact), "--json"], capsys))
    assert printed == json.loads((artifact / "manifest.json").read_text())


@pytest.mark.parametrize("name", ["manifest.json", "backbone.onnx", "sidecar.safetensors"])
def test_a_changed_byte_is_refused(name: str, artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((artifact / name).read_bytes())
    content[content.index(b"digits_vit") if name == "manifest.json" else len(content) // 2] ^= 1
    (artifact / name).write_bytes(content)
    said = shown([str(artifact)], capsys, code=4)
    assert said.startswith("error: ")
    assert name in said


def test_the_newest_is_shown_where_none_is_named(
    artifact: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(artifact.parent.parent)
    assert "digits_vit" in shown([], capsys)


def test_where_there_is_none_the_export_command_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "moase-edge export" in shown([], capsys, code=2)
