"""`--rebuild --precision`: an artifact that is there gets another precision, as an export would give it."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from moase_edge.artifact.calibration import load_calibration
from moase_edge.artifact.parity_probe import PARITY_PROBE_FILE
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact, write_manifest
from moase_edge.cli import main
from moase_edge.config.precision import THRESHOLDS, ParityThresholds, PrecisionSettings
from moase_edge.engines.tensorrt.flavour import Flavour
from moase_edge.errors import ConfigError, EngineError, ExportError, GateError
from moase_edge.export import plan_targets, rebuild
from moase_edge.export.half import half_graph
from moase_edge.export.plan_targets import PlanBuild, PlanRequest
from moase_edge.export.rebuild import rebuild_artifact
from moase_edge.export.wanted import PrecisionRequest, wanted_precisions
from tests.blocked import run_blocked

GRAPHS_ALONE = PlanRequest("ort")
FOR_SM86 = PlanRequest("tensorrt-rtx", ("sm86",))
NEVER = ParityThresholds(cosine=1, relative_error=0, logits=0, token_means=0, gradients=0, top1_agreement=1)


def quick(**thresholds: ParityThresholds) -> PrecisionSettings:
    return PrecisionSettings(frames=4, seeded_frames=2, thresholds={**THRESHOLDS, **thresholds})  # type: ignore[dict-item]


def asked(choice: Any, **more: Any) -> PrecisionRequest:
    return PrecisionRequest(choice, **{"settings": quick(), **more})


@pytest.fixture
def folder(steerable_artifact: Path, tmp_path: Path) -> Path:
    """A copy of an artifact with a graph in fp32 and its source statistics."""
    return Path(shutil.copytree(steerable_artifact, tmp_path / "artifacts" / "digits"))


@pytest.fixture(scope="module")
def halved(steerable_artifact: Path, source_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """That artifact with fp16 beside, made with source images. Never write into it."""
    folder = Path(shutil.copytree(steerable_artifact, tmp_path_factory.mktemp("halved") / "digits"))
    return rebuild_artifact(folder, GRAPHS_ALONE, precision=asked("fp16", source_data=str(source_digits)))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def engines(artifact: Artifact) -> list[tuple[str, str]]:
    return [(entry.runtime, entry.precision) for entry in artifact.manifest.engines]


def evidence(artifact: Artifact) -> Any:
    return json.loads(artifact.path("parity.json").read_text(encoding="utf-8"))["precisions"]


def test_a_graph_that_is_lacking_is_made_as_an_export_makes_it(halved: Artifact, steerable_artifact: Path) -> None:
    before, after = content(steerable_artifact), content(halved.folder)
    assert after.keys() - before.keys() == {"backbone.fp16.onnx", "source_stats.fp16.safetensors"}
    assert {name for name in before if before[name] != after[name]} == {MANIFEST, "parity.json"}
    model = onnx.load(str(steerable_artifact / "backbone.onnx"))
    expected = half_graph(model, "fp16", "plain").SerializeToString(deterministic=True)
    assert after["backbone.fp16.onnx"] == expected
    assert engines(halved) == [("onnx", "fp16"), ("onnx", "fp32")]
    assert load_artifact(halved.folder).manifest.identity == load_artifact(steerable_artifact).manifest.identity


def test_it_comes_with_parity_evidence_and_statistics(halved: Artifact) -> None:
    parity = halved.manifest.engines[0].parity
    assert parity is not None
    assert parity.passed
    assert "every fp16 value rounded, 4 frames of source" in parity.measured_on
    assert (evidence(halved)["fp16"]["kept"], evidence(halved)["fp16"]["strategy"]) == (True, "plain")
    statistics = {of.precision: of for of in halved.manifest.source_statistics}
    assert statistics.keys() == {"fp32", "fp16"}
    assert (statistics["fp16"].count, statistics["fp16"].command) == (60, "export")


def test_what_is_there_is_not_made_again(halved: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "replace_artifact", None)
    assert rebuild_artifact(halved.folder, GRAPHS_ALONE, precision=asked("fp16")) == halved


def test_another_precision_that_is_there_is_put_first(halved: Artifact, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(halved.folder, tmp_path / "digits"))
    assert engines(rebuild_artifact(folder, GRAPHS_ALONE, precision=asked("fp32"))) == [
        ("onnx", "fp32"),
        ("onnx", "fp16"),
    ]


@pytest.mark.usefixtures("rtx")
def test_a_plan_of_a_graph_that_is_there_takes_neither_pytorch_nor_onnx(halved: Artifact, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(halved.folder, tmp_path / "digits"))
    code = """
    import sys
    from moase_edge.cli import main
    plan = ["--engine", "tensorrt-rtx", "--target", "sm86"]
    main(["export", "--rebuild", sys.argv[1], "--precision", "fp16", *plan])
    """
    blocked = ["torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "pycuda"]
    assert "backbone.fp16.sm86.rtx" in run_blocked(code, blocked, [folder])
    assert engines(load_artifact(folder)) == [("onnx", "fp16"), ("tensorrt-rtx", "fp16"), ("onnx", "fp32")]


def test_a_graph_that_is_lacking_takes_onnx_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(folder.parent)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SystemExit) as end:
        main(["export", "--rebuild", str(folder), "--precision", "fp16", "--engine", "ort"])
    assert end.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the package onnx is not installed" in said
    assert "pip install 'moase-edge[export]'" in said
    assert content(folder.parent) == before


def test_int8_takes_frames_and_is_watched_by_them(folder: Path, source_digits: Path) -> None:
    with pytest.raises(ConfigError, match="with --calib-data"):
        rebuild_artifact(folder, GRAPHS_ALONE, precision=asked("int8"))
    noise = (folder / PARITY_PROBE_FILE).read_bytes()
    made = rebuild_artifact(folder, GRAPHS_ALONE, precision=asked("int8", calib_data=str(source_digits)))
    assert made.path(PARITY_PROBE_FILE).read_bytes() != noise, (
        "a device checks plans by frames of the deployment now"
    )
    record = load_calibration(made)
    assert record is not None
    assert (record.engine, record.frames.held_out) == ("backbone.int8.onnx", 20)
    assert engines(made) == [("onnx", "int8"), ("onnx", "fp32")]


@pytest.mark.usefixtures("rtx")
def test_auto_makes_what_holds_parity_with_a_plan_of_each_and_leaves_the_choice_to_the_first_run(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = rebuild_artifact(folder, FOR_SM86, precision=asked("auto", settings=quick(bf16=NEVER)))
    plan = "tensorrt-rtx"
    assert engines(made) == [("onnx", "fp32"), (plan, "fp32"), ("onnx", "fp16"), (plan, "fp16")]
    assert made.manifest.undecided
    assert evidence(made)["bf16"]["reason"] == "parity with fp32 does not hold"
    assert not (folder / "backbone.bf16.onnx").exists()
    assert "there are no source statistics at fp16, so that `run` corrects nothing there" in caplog.text


def test_a_precision_that_is_put_first_as_a_graph_tells_of_plans_that_go_before_it(
    halved: Artifact, tmp_path: Path, rtx: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(halved.folder, tmp_path / "digits"))
    rebuild_artifact(folder, FOR_SM86, precision=asked("fp32"))
    assert "before any graph" not in caplog.text
    rebuild_artifact(folder, GRAPHS_ALONE, precision=asked("fp16"))
    assert (
        "fp16 goes first, but as a graph, and a plan that fits the device is run before any graph" in caplog.text
    )
    made = rebuild_artifact(folder, FOR_SM86)
    assert engines(made)[:2] == [("onnx", "fp16"), ("tensorrt-rtx", "fp16")]


def test_auto_leaves_out_a_plan_that_the_target_has_no_kernels_for(
    halved: Artifact, tmp_path: Path, rtx: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    """TensorRT-RTX has no products in float32 for sm75."""
    folder = Path(shutil.copytree(halved.folder, tmp_path / "digits"))
    for_sm75 = PlanRequest("tensorrt-rtx", ("sm75",))
    with pytest.raises(ExportError, match="give --precision fp16"):
        rebuild_artifact(folder, for_sm75, precision=asked("fp32"))
    made = rebuild_artifact(folder, for_sm75, precision=asked("auto"))
    assert [of.precision for of in made.manifest.engines if of.built_for is not None] == ["fp16"]
    assert "a plan is left out: " in caplog.text


def test_a_precision_that_fails_the_thresholds_of_its_artifact_changes_nothing(folder: Path) -> None:
    manifest = load_artifact(folder).manifest
    (folder / MANIFEST).unlink()
    write_manifest(folder, {**manifest.model_dump(), "thresholds": {**THRESHOLDS, "fp16": NEVER}})
    before = content(folder.parent)
    with pytest.raises(GateError, match=r"parity of fp16 with fp32 on 8 frames of seeded noise"):
        rebuild_artifact(folder, GRAPHS_ALONE, precision=asked("fp16", settings=None))
    assert content(folder.parent) == before


def test_images_that_serve_nothing_are_refused(halved: Artifact, source_digits: Path) -> None:
    with pytest.raises(ConfigError, match="holds every graph that --precision fp16 asks for"):
        rebuild_artifact(halved.folder, GRAPHS_ALONE, precision=asked("fp16", source_data=str(source_digits)))


def test_without_tensorrt_a_graph_is_made_and_a_plan_alone_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plan_targets, "available_flavours", list)
    with caplog.at_level(logging.WARNING):
        made = rebuild_artifact(folder, PlanRequest("auto"), precision=asked("fp16"))
    assert engines(made) == [("onnx", "fp16"), ("onnx", "fp32")]
    assert "no TensorRT here can build a plan" in caplog.text
    with pytest.raises(EngineError, match="no TensorRT here can build a plan"):
        rebuild_artifact(folder, PlanRequest("auto"), precision=asked("fp16"))


def test_bfloat16_is_not_built_for_a_gpu_that_has_none(halved: Artifact) -> None:
    with pytest.raises(ConfigError, match="sm75 has no bfloat16"):
        wanted_precisions("bf16", calibrated=False, targets=["sm75"])
    manifest = halved.manifest
    graphs = [entry.model_copy(update={"precision": "bf16"}) for entry in manifest.engines[:1]] + [
        manifest.engines[1]
    ]
    builds = tuple(PlanBuild(Flavour("tensorrt-rtx", None, "1.7.1"), target, None) for target in ("sm75", "sm80"))
    found = rebuild.lacking_plans(manifest, builds, FOR_SM86, graphs)
    assert [(build.target, graph.precision) for build, graph in found] == [
        ("sm75", "fp32"),
        ("sm80", "bf16"),
        ("sm80", "fp32"),
    ]
