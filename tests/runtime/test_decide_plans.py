"""`--precision auto` with plans, from its export to the device that decides: only the GPU is a stand-in."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.calib.rounded import rounded_graph
from moase_edge.cli import main
from moase_edge.engines import timing
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.flavour import Flavour
from moase_edge.export.plan_targets import PlanRequest
from moase_edge.export.rebuild import rebuild_artifact
from tests.engines.tensorrt import stand_in
from tests.engines.tensorrt.test_open import on_gpu

GPU = Device("NVIDIA GeForce RTX 3060", "sm86", 12288, {"cuda": "13.0", "driver": "580.10"})


class Runtime(stand_in.Runtime):
    """Takes real plans, and runs the graphs that they were built from."""

    def __init__(self, module: Gpu, logger: Any) -> None:
        super().__init__(module, logger)
        self._graphs = module.graphs

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> stand_in.Engine | None:
        return super().deserialize_cuda_engine(self._graphs.get(serialized_engine, serialized_engine))


class Gpu(stand_in.Module):
    """TensorRT-RTX on a machine with a GPU, which knows the plans of one artifact."""

    def __init__(self, version: str, artifact: Artifact) -> None:
        super().__init__(version, rtx=True)
        self.graphs = {
            artifact.path(plan.file).read_bytes(): stand_in.plan_of(
                rounded_graph(onnx.load(str(artifact.path(plan.source or "")))).SerializeToString()
            )
            for plan in artifact.manifest.engines
            if plan.built_for is not None
        }

    def Runtime(self, logger: Any) -> Runtime:  # noqa: N802 - TensorRT's name
        return Runtime(self, logger)


def command(*arguments: object) -> None:
    """A command that ends well."""
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    assert not end.value.code


@pytest.fixture(scope="module")
def exported(rtx: Flavour, source_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with all precisions and their plans for sm86, built without that GPU. Never write into it."""
    out = tmp_path_factory.mktemp("auto") / "digits"
    plans = ["--engine", "tensorrt-rtx", "--target", "sm86"]
    data = ["--source-data", source_digits, "--calib-data", source_digits]
    command("export", "--backbone", "digits_vit", "--no-steer", "--precision", "auto", *plans, *data, "--out", out)
    return out


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Timing that finds fp16 the fastest; the list has what was measured each time."""
    seen: list[list[str]] = []

    def instead(engines: dict[str, Any], image: object, **how: object) -> dict[str, float]:
        seen.append([f"{name} in {engine.name}" for name, engine in engines.items()])
        return {name: 1.0 if name == "fp16" else 2.0 for name in engines}

    monkeypatch.setattr(timing, "interleaved_ms", instead)
    return seen


def test_every_precision_is_kept_with_its_plan_and_statistics(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("inspect", exported)
    shown = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "the fastest of them, measured at the first run on a device" in shown
    manifest = load_artifact(exported).manifest
    for precision in ("fp32", "fp16", "bf16", "int8"):
        assert f"backbone.{precision}.sm86.rtx" in shown
        assert manifest.statistics_at(precision) is not None  # type: ignore[arg-type]


def test_the_first_run_on_the_gpu_decides_and_the_next_ones_take_what_was_decided(
    exported: Path,
    source_digits: Path,
    tmp_path: Path,
    rtx: Flavour,
    measured: list[list[str]],
) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "digits"))
    engine = f"TensorRT-RTX {rtx.version} ({GPU.gpu}, fp16)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
        on_gpu(patch, GPU, Gpu(rtx.version, load_artifact(folder)), module="tensorrt_rtx")
        for number in range(2):
            report = tmp_path / f"report{number}"
            run = ["--artifact", folder, "--source", source_digits, "--max-frames", 3, "--report", report]
            command("run", *run)
            told = json.loads((report / "summary.json").read_text(encoding="utf-8"))
            assert (told["engine"], told["precision"]) == (engine, "fp16")
            assert "fp16 is the fastest measured here (1.00 ms)" in told["engine_choice"]
    assert len(measured) == 1
    assert {of.split()[0] for of in measured[0]} == {"fp32", "fp16", "bf16", "int8"}
    assert all("TensorRT-RTX" in of for of in measured[0])
    decided = load_artifact(folder).manifest
    assert (decided.undecided, decided.engines[0].precision) == (False, "fp16")
    fast = next(entry for entry in decided.engines if entry.built_for and entry.precision == "fp16")
    assert (fast.latency_ms, fast.measured_on) == (1.0, f"{engine} on {GPU.gpu}")
    assert sys.modules["tensorrt_rtx"] is rtx.module
    made = rebuild_artifact(folder, PlanRequest("tensorrt-rtx", ("sm89",))).manifest
    new = [entry.file for entry in made.engines if entry not in decided.engines]
    assert [name.rpartition(".rtx")[0] for name in new] == ["backbone.fp16.sm89"]
