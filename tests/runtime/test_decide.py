"""What is the fastest on a device is measured there, once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moase_edge.artifact.cache import Cache
from moase_edge.artifact.manifest import BuiltFor, EngineEntry
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact, write_manifest
from moase_edge.config.precision import PrecisionSettings
from moase_edge.engines import timing
from moase_edge.engines.tensorrt.device import Device
from moase_edge.errors import GateError, StorageError
from moase_edge.runtime import decide
from moase_edge.runtime.decide import decide_precision
from tests.artifact.halves import add_halves
from tests.engines.tensorrt.stand_in import Module, plan_of
from tests.engines.tensorrt.test_open import on_gpu

QUICK = PrecisionSettings(rounds=2, warm_up=0)


@pytest.fixture
def undecided(digits_artifact: Path, tmp_path: Path) -> Artifact:
    """`digits_artifact` with halves beside it, fp32 first, and nothing measured."""
    return add_halves(Path(shutil.copytree(digits_artifact, tmp_path / "digits")), undecided=True)


@pytest.fixture
def fp16_is_faster(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Timing that finds fp16 twice as fast; the list has what was measured each time."""
    measured: list[list[str]] = []

    def instead(engines: dict[str, Any], image: object, **how: object) -> dict[str, float]:
        measured.append(list(engines))
        return {name: 1.0 if name == "fp16" else 2.0 for name in engines}

    monkeypatch.setattr(timing, "interleaved_ms", instead)
    return measured


def order(artifact: Artifact) -> list[str]:
    return [entry.precision for entry in artifact.manifest.engines]


def test_the_fastest_goes_first_and_the_artifact_says_what_was_measured(
    undecided: Artifact, fp16_is_faster: list[list[str]], tmp_path: Path
) -> None:
    decided = decide_precision(undecided, settings=QUICK, cache=Cache(tmp_path / "cache"))
    assert order(decided) == ["fp16", "fp32", "bf16"]
    written = load_artifact(undecided.folder).manifest
    assert written == decided.manifest
    assert (written.undecided, written.identity) == (False, undecided.manifest.identity)
    assert [entry.latency_ms for entry in written.engines] == [1.0, 2.0, None]
    assert written.plan_graphs() == written.engines[:1]


def test_what_cannot_run_here_is_not_measured_and_a_decision_is_made_once(
    undecided: Artifact, fp16_is_faster: list[list[str]], tmp_path: Path
) -> None:
    decided = decide_precision(undecided, settings=QUICK, cache=Cache(tmp_path / "cache"))
    assert decide_precision(decided, settings=QUICK, cache=Cache(tmp_path / "cache")) is decided
    assert fp16_is_faster == [["fp32", "fp16"]]


def test_where_the_folder_cannot_be_written_the_cache_remembers(
    undecided: Artifact, fp16_is_faster: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(artifact: Artifact, change: Callable[[Path], object]) -> Artifact:
        raise StorageError("read-only")

    monkeypatch.setattr(decide, "replace_artifact", refuse)
    for _ in range(2):
        decided = decide_precision(undecided, settings=QUICK, cache=Cache(tmp_path / "cache"))
        assert order(decided) == ["fp16", "fp32", "bf16"]
    assert len(fp16_is_faster) == 1
    assert load_artifact(undecided.folder).manifest.undecided


def test_an_artifact_for_another_device_is_left_to_that_device(
    undecided: Artifact, fp16_is_faster: list[list[str]], tmp_path: Path
) -> None:
    built = BuiltFor(target="sm10", versions={"tensorrt": "10.3.0"})
    plan = EngineEntry(file="a.engine", runtime="tensorrt", source="backbone.onnx", built_for=built)
    (undecided.folder / plan.file).write_bytes(b"plan")
    fields = {**undecided.manifest.model_dump(), "engines": (*undecided.manifest.engines, plan)}
    (undecided.folder / MANIFEST).unlink()
    write_manifest(undecided.folder, fields)
    before = (undecided.folder / MANIFEST).read_bytes()
    for _ in range(2):
        decided = decide_precision(
            load_artifact(undecided.folder), settings=QUICK, cache=Cache(tmp_path / "cache")
        )
        assert order(decided)[0] == "fp16"
    assert (undecided.folder / MANIFEST).read_bytes() == before
    assert len(fp16_is_faster) == 1


def test_an_artifact_whose_plans_are_still_to_be_built_stays_undecided(
    undecided: Artifact, fp16_is_faster: list[list[str]], tmp_path: Path
) -> None:
    (undecided.folder / MANIFEST).unlink()
    write_manifest(undecided.folder, {**undecided.manifest.model_dump(), "targets": ("sm87",)})
    decided = decide_precision(load_artifact(undecided.folder), settings=QUICK, cache=Cache(tmp_path / "cache"))
    assert order(decided)[0] == "fp16"
    written = load_artifact(undecided.folder).manifest
    assert (written.undecided, len(written.plan_graphs())) == (True, 3)


def with_plan(artifact: Artifact, target: str, precision: str = "fp32") -> Artifact:
    """The artifact with a plan of the stand-in for one more GPU."""
    built = BuiltFor(target=target, versions={"tensorrt": "10.9.0"})
    plan = EngineEntry(
        file=f"{precision}.{target}.engine",
        runtime="tensorrt",
        precision=precision,  # type: ignore[arg-type]
        source="backbone.onnx",
        built_for=built,
    )
    (artifact.folder / plan.file).write_bytes(plan_of((artifact.folder / "backbone.onnx").read_bytes()))
    (artifact.folder / MANIFEST).unlink()
    fields = {**artifact.manifest.model_dump(), "engines": (*artifact.manifest.engines, plan)}
    write_manifest(artifact.folder, fields)
    return load_artifact(artifact.folder)


def test_where_plans_are_for_two_gpus_each_decides_for_itself(
    undecided: Artifact,
    fp16_is_faster: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    for_two = with_plan(with_plan(undecided, "sm86", "fp16"), "sm89")
    first = with_plan(for_two, "sm86")
    for target in ("sm86", "sm86", "sm89"):
        on_gpu(monkeypatch, Device(f"GPU {target}", target, 8192, {}), Module())
        assert order(decide_precision(load_artifact(first.folder), settings=QUICK))[0] == "fp16"
    assert fp16_is_faster == [["fp32", "fp16"]] * 2
    assert load_artifact(first.folder).manifest == first.manifest


def test_a_decision_that_misses_an_engine_is_of_this_once(
    undecided: Artifact,
    fp16_is_faster: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    planned = with_plan(undecided, "sm86", "fp16")
    gpu = Device("GPU", "sm86", 8192, {})
    for memory, precisions, written in ((False, ["fp32"], False), (True, ["fp32", "fp16"], True)):
        on_gpu(monkeypatch, gpu, Module(memory=memory))
        decide_precision(planned, settings=QUICK)
        assert fp16_is_faster[-1] == precisions
        assert load_artifact(planned.folder).manifest.undecided != written
    assert "fp16.sm86.engine does not open, so what is the fastest is asked again" in caplog.text


def test_a_plan_that_fails_its_check_is_measured_in_another_engine_of_its_precision(
    undecided: Artifact,
    fp16_is_faster: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    planned = with_plan(undecided, "sm86", "fp16")
    on_gpu(monkeypatch, Device("GPU", "sm86", 8192, {}), Module())

    def refuse(*_: object) -> None:
        raise GateError("other values")

    monkeypatch.setattr("moase_edge.engines.tensorrt.open.check_first_load", refuse)
    decided = decide_precision(planned, settings=QUICK)
    assert fp16_is_faster == [["fp32", "fp16"]]
    measured = {entry.file: entry.latency_ms for entry in decided.manifest.engines}
    assert (measured["backbone.fp16.onnx"], measured["fp16.sm86.engine"]) == (1.0, None)
    assert not load_artifact(planned.folder).manifest.undecided


def test_of_two_first_runs_the_later_takes_what_the_earlier_wrote(
    undecided: Artifact, fp16_is_faster: list[list[str]], tmp_path: Path
) -> None:
    first = decide_precision(undecided, settings=QUICK, cache=Cache(tmp_path / "one"))
    second = decide_precision(undecided, settings=QUICK, cache=Cache(tmp_path / "other"))
    assert second.manifest == first.manifest == load_artifact(undecided.folder).manifest
    assert len(fp16_is_faster) == 2


def test_real_engines_are_measured(undecided: Artifact, tmp_path: Path) -> None:
    decided = decide_precision(undecided, threads=1, settings=QUICK, cache=Cache(tmp_path / "cache"))
    found = {entry.precision: entry for entry in decided.manifest.engines}
    assert (found["fp32"].latency_ms or 0) > 0
    assert "(CPU, 1 threads) on " in (found["fp16"].measured_on or "")
