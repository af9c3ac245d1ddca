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
from moase_edge.errors import StorageError
from moase_edge.runtime import decide
from moase_edge.runtime.decide import decide_precision
from tests.artifact.halves import add_halves

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
