"""`--precision auto` for a GPU that is not here: one that nothing here builds for, one that takes fp16 alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from moase_edge.artifact.manifest import EngineEntry
from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.cli import main
from moase_edge.engines.tensorrt.device import Device
from moase_edge.export import plan_targets
from moase_edge.export.plan_targets import PlanRequest
from moase_edge.export.rebuild import rebuild_artifact
from moase_edge.export.wanted import PrecisionRequest
from tests.engines import tensorrt_stand_in

ORIN = Device("Orin", "sm87", 7620, {"cuda": "12.6", "l4t": "36.4.3"})


def command(*arguments: object) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    assert not end.value.code


def of(entry: EngineEntry) -> tuple[str, str, float | None]:
    return entry.runtime, entry.precision, entry.latency_ms


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Made where no TensorRT builds for sm87. Never write into it."""
    out = tmp_path_factory.mktemp("jetson") / "digits"
    auto = ["--precision", "auto", "--target", "sm87"]
    command("export", "--backbone", "digits_vit", "--no-steer", *auto, "--out", out)
    return load_artifact(out)


@pytest.fixture
def orin(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorrt_stand_in.install(monkeypatch)
    monkeypatch.setattr(plan_targets, "find_device", lambda: ORIN)


def test_every_precision_is_kept_unmeasured_and_undecided(exported: Artifact) -> None:
    manifest = exported.manifest
    assert list(map(of, manifest.engines)) == [(("onnx", name, None)) for name in ("fp32", "fp16", "bf16")]
    assert (manifest.undecided, manifest.targets) == (True, ("sm87",))
    script = exported.path("reproduce.sh").read_text()
    assert " --precision auto --target sm87" in script


def test_views_say_what_to_do_on_the_device(exported: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    command("inspect", exported.folder)
    shown = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "measured at the first run on a device, with plans built on sm87" in shown


@pytest.mark.usefixtures("orin")
def test_rebuild_on_the_device_builds_a_plan_of_each_and_leaves_the_choice_to_the_first_run(
    exported: Artifact, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(exported.folder, tmp_path / "digits"))
    made = rebuild_artifact(folder, PlanRequest("auto")).manifest
    plans = [entry for entry in made.engines if entry.built_for is not None]
    assert [(entry.precision, entry.built_for and entry.built_for.gpu) for entry in plans] == [
        (precision, "Orin") for precision in ("fp32", "fp16", "bf16")
    ]
    assert made.undecided


def test_an_artifact_that_is_there_can_be_made_ready_for_a_device(exported: Artifact, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported.folder, tmp_path / "digits"))
    request = PlanRequest("ort", ("sm87", "sm110"))
    made = rebuild_artifact(folder, request, precision=PrecisionRequest("auto"))
    assert (made.manifest.targets, made.manifest.undecided) == (("sm87", "sm110"), True)
    assert made.manifest.engines == exported.manifest.engines


@pytest.mark.usefixtures("rtx")
def test_plans_that_a_gpu_has_no_kernels_for_are_left_out_and_the_reason_is_kept(tmp_path: Path) -> None:
    """TensorRT-RTX has no products in float32 for sm75."""
    plans = ["--precision", "auto", "--engine", "tensorrt-rtx", "--target", "sm75"]
    command("export", "--backbone", "digits_vit", "--no-steer", *plans, "--out", tmp_path / "digits")
    made = load_artifact(tmp_path / "digits")
    assert [entry.precision for entry in made.manifest.engines] == ["fp32", "fp16", "fp16"]
    assert made.manifest.targets == ()
    ((name, reason),) = json.loads(made.path("parity.json").read_text())["plans_left_out"].items()
    assert name.startswith("backbone.fp32.sm75.rtx")
    assert "FP32 GEMM is not supported" in reason
