"""`moase-edge export` and plans: what is built, shown and refused, each with its exit code."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from moase_edge.artifact.store import load_artifact
from moase_edge.cli import main
from moase_edge.export import plan_targets
from tests.engines import tensorrt_stand_in
from tests.export import graphs

RTX = ["--engine", "tensorrt-rtx", "--target", "sm86"]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_targets, "find_device", lambda: None)


@pytest.fixture
def artifact(steerable_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(steerable_artifact, tmp_path / "artifact"))


def export(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    try:
        main(["export", *map(str, arguments)])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


@pytest.mark.usefixtures("rtx")
def test_export_builds_the_plans_that_are_asked_for_and_its_script_asks_for_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*RTX, "--target", "sm89", "--batch", "1..2", "--workspace-mib", "512"]
    code, shown, said = export(capsys, "--backbone", "digits_vit", "--out", tmp_path / "out", *asked)
    assert code == 0, said
    manifest = load_artifact(tmp_path / "out").manifest
    made = [
        (entry.precision, entry.batch, entry.built_for and entry.built_for.target) for entry in manifest.engines
    ]
    assert made == [("fp32", None, None), ("fp32", (1, 2), "sm86"), ("fp32", (1, 2), "sm89")]
    for entry in manifest.engines[1:]:
        assert f"building the plan {entry.file}" in said
        assert re.search(
            rf"plan {entry.file}: tensorrt-rtx, fp32, version \S+, for sm\d+, batch 1 to 2, "
            "within 512 MiB, from",
            shown,
        )
    script = (tmp_path / "out" / "reproduce.sh").read_text().splitlines()[-1]
    assert shlex.join([*RTX, "--target", "sm89", "--batch", "1..1..2", "--workspace-mib", "512"]) in script


@pytest.mark.usefixtures("rtx")
def test_rebuild_adds_a_plan_and_inspect_shows_it(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, said = export(capsys, "--rebuild", artifact, *RTX)
    assert code == 0, said
    assert "backbone.onnx: onnx, fp32, opset 18" in shown
    assert re.search(r"fp32\.sm86\.rtx[\d.]+\.engine: tensorrt-rtx, fp32, version \S+, for sm86, batch 1", shown)
    with pytest.raises(SystemExit) as end:
        main(["inspect", str(artifact)])
    assert end.value.code == 0
    assert "for sm86, batch 1, from backbone.onnx" in " ".join(capsys.readouterr().out.replace("│", "").split())


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (
            ["--engine", "tensorrt-rtx"],
            2,
            "there is no GPU here to build a plan for. Name one with --target: sm75",
        ),
        (["--engine", "tensorrt-rtx", "--target", "sm87"], 4, "cannot build for sm87; it can for sm75"),
        (["--engine", "auto", "--target", "sm87"], 4, "cannot build for sm87; it can for sm75"),
        ([*RTX, "--target", "sm99"], 2, "unknown target sm99; known are sm75"),
        ([*RTX, "--hardware-compatible"], 2, "Name each GPU with --target"),
        ([*RTX, "--batch", "8..1"], 2, "from the smallest by the usual to the largest, got 8..8..1"),
        ([*RTX, "--batch", "some"], 2, "a batch is written 4, 1..8 or 1..4..8"),
        ([*RTX, "--batch", "0"], 2, "greater than or equal to 1"),
        ([*RTX, "--workspace-mib", "0"], 2, "--workspace-mib"),
        ([*RTX, "--workspace-mib", "1"], 1, "a larger --workspace-mib"),
        ([*RTX, "--version-compatible"], 1, "leave that setting out"),
        (["--engine", "ort"], 2, "runs the artifact's graphs as they are"),
        (["--engine", "ort", "--batch", "2"], 2, "no plan is asked for"),
        (["--engine", "tensorrt-lite"], 2, "tensorrt-lite"),
        (["--seed", "3", "--force"], 2, "leave --seed, --force out"),
        ([], 4, "no TensorRT here can build a plan"),
    ],
)
def test_nonsense_is_refused_and_the_artifact_stays_as_it_was(
    options: list[str], code: int, words: str, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in artifact.iterdir()}
    ended, _, said = export(capsys, "--rebuild", artifact, *options)
    assert ended == code, said
    assert words in " ".join(said.replace("│", "").split())
    assert {path.name: path.read_bytes() for path in artifact.iterdir()} == before
    assert [path.name for path in artifact.parent.iterdir()] == ["artifact"]


def test_a_missing_and_an_old_tensorrt_do_not_fit(
    artifact: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    code, _, said = export(capsys, "--rebuild", artifact, "--engine", "tensorrt")
    assert (code, "TensorRT is not installed. A Jetson has it" in said) == (4, True)
    tensorrt_stand_in.install(monkeypatch, "8.6.2")
    code, _, said = export(capsys, "--rebuild", artifact, "--engine", "tensorrt")
    assert (code, "TensorRT 8.6.2 is too old; 10.3 or newer is needed" in said) == (4, True)


def test_what_plans_lack_is_said_before_the_backbone_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    code, _, said = export(capsys, "--backbone", "digits_vit", "--engine", "tensorrt", "--out", tmp_path / "out")
    assert (code, "building the backbone" in said) == (4, False)
    assert not (tmp_path / "out").exists()


def test_nothing_to_export_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = export(capsys)
    assert (code, "name a model with --backbone, or an artifact with --rebuild" in said) == (2, True)


@pytest.mark.usefixtures("rtx")
def test_a_graph_that_cannot_be_built_names_its_node_and_leaves_the_artifact(
    artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from moase_edge.artifact.store import MANIFEST, write_manifest

    manifest = load_artifact(artifact).manifest
    graph = artifact / "backbone.onnx"
    graph.write_bytes(graphs.with_unknown_operator(graph.read_bytes()))
    (artifact / MANIFEST).unlink()
    write_manifest(artifact, manifest.model_dump())
    code, _, said = export(capsys, "--rebuild", artifact, *RTX)
    assert code == 1
    assert "(operator Frobnicate, in the PyTorch module blocks.0.attn)" in said
    assert [path.name for path in artifact.parent.iterdir()] == ["artifact"]
    load_artifact(artifact)
