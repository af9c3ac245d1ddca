"""What `inspect` and `export` say of precisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moase_edge.artifact.manifest import BuiltFor, EngineEntry
from moase_edge.artifact.store import load_artifact
from moase_edge.cli import main
from moase_edge.cli.export_view import ExportView
from moase_edge.cli.inspect_view import engine_line
from tests.artifact.folders import FILES, fields, make_artifact

PARITY = {
    "passed": True,
    "measured_on": "ONNX Runtime",
    "cosine": 0.99991,
    "relative_error": 0.0021,
    "gradients": 0.0033,
    "top1_agreement": 0.9975,
}
EXACT = fields()["engines"][0]
HALF = {
    **EXACT,
    "file": "parity.json",  # any file that the artifact holds
    "precision": "fp16",
    "parity": PARITY,
    "latency_ms": 12.345,
    "measured_on": "ONNX Runtime (CPU) on AMD EPYC",
}
LINE = (
    "parity.json: onnx, fp16, opset 18; against fp32: taps 2.1e-03 (cosine 0.9999), gradients 3.3e-03, "
    "99.8% same answers; 12.35 ms a frame in ONNX Runtime (CPU) on AMD EPYC"
)


def artifact(folder: Path, **changes: Any) -> Path:
    assert HALF["file"] in FILES
    return make_artifact(folder, engines=(HALF, EXACT), **changes)


def test_an_engine_is_shown_with_its_parity_and_its_latency(tmp_path: Path) -> None:
    half, exact = load_artifact(artifact(tmp_path / "a")).manifest.engines
    assert engine_line(half) == LINE
    assert engine_line(exact) == "backbone.onnx: onnx, fp32, opset 18"


def test_a_model_without_a_head_has_no_answers_to_agree_on(tmp_path: Path) -> None:
    half = load_artifact(artifact(tmp_path / "a")).manifest.engines[0]
    assert half.parity is not None
    headless = half.model_copy(update={"parity": half.parity.model_copy(update={"top1_agreement": None})})
    assert "same answers" not in engine_line(headless)


@pytest.mark.parametrize("undecided", [True, False])
def test_the_summary_of_an_export_shows_precisions_and_what_is_undecided(
    undecided: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ExportView().show(load_artifact(artifact(tmp_path / "a", undecided=undecided)))
    lines = capsys.readouterr().out.splitlines()
    assert f"  engine {LINE}" in lines
    assert not any(line.startswith("  engine backbone.onnx") for line in lines), "fp32 alone goes without saying"
    assert ("  which of the precisions runs is decided on the device, at the first run" in lines) is undecided


def test_inspect_says_that_a_choice_is_left_to_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["inspect", str(artifact(tmp_path / "a", undecided=True))])
    assert end.value.code == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert "to run │ the fastest of them" in flat


def test_settings_of_a_plan_that_are_not_the_usual_are_shown() -> None:
    built = BuiltFor(target="sm86", versions={"tensorrt-rtx": "1.7.1"})
    plan = EngineEntry(file="a.engine", runtime="tensorrt-rtx", source="a.onnx", batch=(1, 8), built_for=built)
    line = "a.engine: tensorrt-rtx, fp32, version 1.7.1, for sm86, batch 1 to 8, from a.onnx"
    assert engine_line(plan) == line
    settings = {"tf32": True, "workspace_mib": 64, "usual_batch": 4}
    special = plan.model_copy(update={"built_for": built.model_copy(update=settings)})
    assert engine_line(special) == line.replace(", from", " (tuned for 4), in TF32, within 64 MiB, from")
