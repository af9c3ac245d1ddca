"""Which precisions an artifact gets, and what it says of them."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.calibration import CALIBRATION_FILE, load_calibration
from moase_edge.artifact.identity import state_identity
from moase_edge.artifact.parity_probe import load_parity_probe
from moase_edge.artifact.source_statistics import load_source_statistics
from moase_edge.artifact.store import Artifact
from moase_edge.calib.engine_parity import Reference
from moase_edge.calib.int8_report import outcome_lines
from moase_edge.calib.pictures import seeded_pictures
from moase_edge.calib.twin import GRAPH_FILE
from moase_edge.cli.export_view import ExportView
from moase_edge.config.names import LowerPrecision, PrecisionChoice
from moase_edge.config.precision import THRESHOLDS, ParityThresholds, PrecisionSettings
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.open import open_engine
from moase_edge.engines.ranges import counts_outside, watched
from moase_edge.errors import CalibrationError, ConfigError, GateError
from moase_edge.export.bundle import export_artifact
from moase_edge.export.candidates import half_candidate
from moase_edge.export.request import ExportRequest
from moase_edge.export.wanted import wanted_precisions
from tests.cli.commands import write_pictures

QUICK = {"frames": 8, "seeded_frames": 2, "rounds": 3, "warm_up": 1}
NEVER = ParityThresholds(cosine=1, relative_error=0, logits=0, token_means=0, gradients=0, top1_agreement=1)


def export(
    out: Path, precision: PrecisionChoice, thresholds: dict[Any, Any] | None = None, **more: Any
) -> Artifact:
    settings = PrecisionSettings(**QUICK, thresholds={**THRESHOLDS, **(thresholds or {})})  # type: ignore[arg-type]
    return export_artifact(ExportRequest("digits_vit", precision=precision, precisions=settings, **more), out)


def evidence(artifact: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(artifact.path("parity.json").read_text())["precisions"]
    return found


@pytest.fixture(scope="module")
def fp16(source_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(tmp_path_factory.mktemp("fp16") / "digits", "fp16", source_data=str(source_digits), steer=False)


@pytest.fixture(scope="module")
def fastest(source_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    out = tmp_path_factory.mktemp("auto") / "digits"
    return export(out, "auto", {"int8": NEVER}, calib_data=str(source_digits), steer=False)


def test_thresholds_are_given_for_every_precision_that_can_be_asked_for() -> None:
    assert set(THRESHOLDS) == set(get_args(PrecisionChoice)) - {"auto"} == {"fp32", *get_args(LowerPrecision)}


@pytest.mark.parametrize(
    ("choice", "calibrated", "targets", "expected"),
    [
        ("fp32", True, [], ()),
        ("bf16", False, ["sm86"], ("bf16",)),
        ("int8", True, [], ("int8",)),
        ("auto", False, [], ("fp16",)),
        ("auto", True, [], ("fp16", "int8")),
        ("auto", True, ["sm86"], ("fp16", "bf16", "int8")),
        ("auto", False, ["sm75", "sm86"], ("fp16",)),
    ],
)
def test_what_is_built_follows_from_what_is_there(
    choice: PrecisionChoice, calibrated: bool, targets: list[str], expected: tuple[str, ...]
) -> None:
    assert wanted_precisions(choice, calibrated=calibrated, targets=targets) == expected


def test_int8_without_frames_and_bf16_for_a_gpu_without_it_are_refused() -> None:
    with pytest.raises(ConfigError, match="--calib-data"):
        wanted_precisions("int8", calibrated=False, targets=[])
    with pytest.raises(ConfigError, match="sm75 has no bfloat16"):
        wanted_precisions("bf16", calibrated=False, targets=["sm75", "sm86"])


def test_what_was_asked_for_comes_first_with_its_parity_and_fp32_behind_it(fp16: Artifact) -> None:
    first, second = fp16.manifest.engines
    assert (first.file, first.precision, second.file, second.precision) == (
        "backbone.fp16.onnx",
        "fp16",
        "backbone.onnx",
        "fp32",
    )
    assert first.parity is not None
    assert first.parity.passed
    assert first.parity.top1_agreement == 1
    assert "every fp16 value rounded, 8 frames of source" in first.parity.measured_on
    assert second.parity is None
    assert fp16.manifest.plan_graphs() == (first,)
    weights = onnx.load(str(fp16.path(first.file))).graph.initializer
    assert TensorProto.FLOAT16 in {tensor.data_type for tensor in weights}


def test_statistics_are_taken_again_at_the_precision(fp16: Artifact) -> None:
    half, exact = load_source_statistics(fp16, "fp16"), load_source_statistics(fp16)
    assert half is not None
    assert exact is not None
    assert 0 < abs(half.mid.mean - exact.mid.mean).max() < 0.01
    entry = fp16.manifest.statistics_at("fp16")
    assert entry is not None
    assert entry.engine.endswith("every fp16 value rounded")
    assert state_identity(fp16.manifest, "fp16") != state_identity(fp16.manifest, "fp32")


def test_parity_json_has_every_frame_and_the_thresholds(fp16: Artifact) -> None:
    found = evidence(fp16)["fp16"]
    assert (found["kept"], found["strategy"], found["failures"]) == (True, "plain", [])
    assert found["thresholds"] == THRESHOLDS["fp16"].model_dump()
    assert (
        len(found["cosine"])
        == len(found["relative_error"])
        == len(found["logits"])
        == len(found["gradients"])
        == len(found["agrees"])
        == 8
    )


def test_the_artifact_stores_frames_for_a_device_to_check_a_plan_by(fp16: Artifact) -> None:
    probe = load_parity_probe(fp16)
    assert probe is not None
    assert len(probe.images) == 2
    assert set(probe.outputs[0]) == {"mid", "out", "logits"}


def test_the_script_asks_for_the_same_precision_and_frames(fp16: Artifact, fastest: Artifact) -> None:
    assert " --precision fp16" in fp16.path("reproduce.sh").read_text()
    assert "CALIB_DATA" not in fp16.path("reproduce.sh").read_text()
    script = fastest.path("reproduce.sh").read_text()
    assert "set CALIB_DATA to the calibration frames" in script
    assert " --precision auto" in script
    assert ' --calib-data "$CALIB_DATA"' in script


def test_a_precision_that_fails_parity_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        GateError, match=r"parity of fp16 with fp32 on 2 frames of seeded noise .* gradients"
    ) as caught:
        export(tmp_path / "out", "fp16", {"fp16": NEVER}, steer=False)
    assert caught.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_wider_strategies_are_tried_before_it_fails(fp16: Artifact, tmp_path: Path) -> None:
    """Digits at fp16: relative error 0.9e-3 plain, 0.7e-3 with wide residuals; the bound lies between."""
    shutil.copy(fp16.path(GRAPH_FILE), tmp_path)
    manifest = fp16.manifest
    sidecar = load_sidecar(fp16.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
    with closing(OnnxRuntimeEngine(tmp_path / GRAPH_FILE, threads=1)) as engine:
        reference = Reference(engine, sidecar, seeded_pictures(manifest.preprocess, 8, seed=0))
    between = THRESHOLDS["fp16"].model_copy(update={"relative_error": 0.8e-3})
    candidate = half_candidate("fp16", tmp_path / GRAPH_FILE, tmp_path, reference, between)
    assert (candidate.form, candidate.parity.passed) == ({"strategy": "wide-residuals"}, True)
    assert not half_candidate("fp16", tmp_path / GRAPH_FILE, tmp_path, reference, NEVER).parity.passed


def test_int8_that_was_asked_for_is_watched_by_a_record_of_its_frames(
    source_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    artifact = export(tmp_path / "digits", "int8", calib_data=str(source_digits), steer=False)
    kept = [path.name for path in (tmp_path / "cache" / "calibration").iterdir()]
    assert len(kept) == 2, "before and after channels are evened out"
    record = load_calibration(artifact)
    assert record is not None
    assert (record.engine, record.max_drop, record.frames.ranging, record.frames.held_out) == (
        "backbone.int8.onnx",
        None,
        40,
        20,
    )
    parity = artifact.manifest.engines[0].parity
    assert parity is not None
    assert parity.measured_on.endswith("7 frames of source0")
    engine = watched(artifact, open_engine(artifact, precision="int8"))
    engine.run(np.full((1, 3, 32, 32), 9, np.float32))
    assert counts_outside(engine)["frames outside the calibrated range of images"] == 1
    assert "budget" not in " ".join(outcome_lines(record))


def test_calibration_frames_of_one_colour_are_refused(tmp_path: Path) -> None:
    plain = write_pictures(tmp_path / "plain", 3)
    with pytest.raises(CalibrationError, match="has one colour only"):
        export(tmp_path / "out", "int8", calib_data=str(plain), steer=False)


def test_auto_says_that_int8_is_left_out_where_its_frames_are_too_few(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for index, value in enumerate((40, 200)):
        half = np.zeros((32, 32, 3), np.uint8)
        half[:, : 16 * (index + 1)] = value
        cv2.imwrite(str(few / f"{index}.png"), half)
    artifact = export(tmp_path / "digits", "auto", calib_data=str(few), steer=False)
    reason = "2 calibration frames that differ are too few: one in 3 is held out of the ranges"
    assert f"int8 is left out: {reason}" in caplog.text
    ExportView().show(artifact)
    assert f"int8 is left out: {reason}" in capsys.readouterr().out


def test_auto_keeps_the_fastest_measured_and_says_why_it_dropped_the_others(fastest: Artifact) -> None:
    first = fastest.manifest.engines[0]
    found = evidence(fastest)
    assert not fastest.manifest.undecided
    assert first.latency_ms == min(found["fp32"]["latency_ms"], first.latency_ms or 0)
    assert (first.measured_on or "").startswith("ONNX Runtime")
    assert found["int8"]["kept"] is False
    assert found["int8"]["reason"] == "parity with fp32 does not hold"
    assert found["int8"]["failures"]
    assert not {"backbone.int8.onnx", CALIBRATION_FILE} & fastest.manifest.files.keys()
    kept = {entry.precision for entry in fastest.manifest.engines}
    assert "fp32" in kept
    assert found["fp16"]["kept"] is ("fp16" in kept) is ("backbone.fp16.onnx" in fastest.manifest.files)
