"""Plans of an artifact: their names, their entries, and the cache that makes a second export instant."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from moase_edge.artifact.cache import Cache
from moase_edge.artifact.manifest import EngineEntry, EngineParity, EngineRuntime
from moase_edge.config.plan import PlanSettings
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.flavour import Flavour
from moase_edge.errors import ExportError
from moase_edge.export import plans
from moase_edge.export.plan_builder import BuiltPlan
from moase_edge.export.plan_targets import PlanBuild
from moase_edge.export.plans import build_plans, plan_entry, plan_name

GRAPH = EngineEntry(file="backbone.onnx", opset=18)
HALF = EngineEntry(file="backbone.fp16.onnx", opset=18, precision="fp16")
ORIN = Device("Orin", "sm87", 7620, {"cuda": "12.6"})


def build_of(
    name: EngineRuntime = "tensorrt", version: str = "10.3.0", target: str = "sm87", device: Device | None = ORIN
) -> PlanBuild:
    return PlanBuild(Flavour(name, None, version), target, device)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "artifact").mkdir()
    for entry in (GRAPH, HALF):
        (tmp_path / "artifact" / entry.file).write_bytes(entry.file.encode())
    return tmp_path / "artifact"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the builder was asked; its plan is the number of the call."""
    calls: list[dict[str, Any]] = []

    def build_plan(graph: bytes, flavour: Flavour, settings: PlanSettings, **options: Any) -> BuiltPlan:
        calls.append({"graph": graph, "version": flavour.version, "settings": settings, **options})
        return BuiltPlan(f"plan {len(calls)}".encode(), f"timings {len(calls)}".encode())

    monkeypatch.setattr(plans, "build_plan", build_plan)
    return calls


def make(folder: Path, build: PlanBuild, *graphs: EngineEntry, **settings: object) -> tuple[EngineEntry, ...]:
    chosen = PlanSettings.model_validate(settings)
    cache = Cache(folder.parent / "cache")
    return build_plans(folder, graphs or (GRAPH,), [build], chosen, announce=lambda stage: None, cache=cache)


@pytest.mark.parametrize(
    ("graph", "build", "batch", "name"),
    [
        (GRAPH, build_of(), (1, 1, 1), "backbone.fp32.sm87.orin.trt10.3.engine"),
        (HALF, build_of(version="11.1.0.106"), (4, 4, 4), "backbone.fp16.b4.sm87.orin.trt11.1.engine"),
        (
            HALF.model_copy(update={"file": "backbone.fp16-wide.onnx"}),
            build_of(),
            (1, 1, 1),
            "backbone.fp16-wide.sm87.orin.trt10.3.engine",
        ),
        (
            HALF,
            build_of("tensorrt-rtx", "1.7.1.116", "sm86", None),
            (1, 2, 8),
            "backbone.fp16.b1-2-8.sm86.rtx1.7.engine",
        ),
    ],
)
def test_a_plan_is_named_by_precision_batch_target_and_version(
    graph: EngineEntry, build: PlanBuild, batch: tuple[int, int, int], name: str
) -> None:
    assert plan_name(graph, build, PlanSettings(batch=batch)) == name


def test_a_plan_is_named_by_tf32_and_by_the_gpu_whose_kernels_it_has() -> None:
    models = [Device(f"NVIDIA GeForce RTX {model}", "sm86", 8192, {}) for model in ("3060", "3090 Ti")]
    settings = PlanSettings(batch=(1, 1, 8), tf32=True)
    assert [plan_name(GRAPH, build_of(target="sm86", device=device), settings) for device in models] == [
        "backbone.fp32.b1-8.tf32.sm86.nvidia-geforce-rtx-3060.trt10.3.engine",
        "backbone.fp32.b1-8.tf32.sm86.nvidia-geforce-rtx-3090-ti.trt10.3.engine",
    ]


def test_an_entry_says_what_the_plan_is_of_and_for() -> None:
    parity = EngineParity(
        passed=True, measured_on="x", cosine=1.0, relative_error=0.0, gradients=0.0, top1_agreement=1.0
    )
    graph = HALF.model_copy(update={"parity": parity})
    entry = plan_entry(graph, build_of(), PlanSettings(batch=(1, 2, 8)))
    assert (entry.runtime, entry.precision, entry.source) == ("tensorrt", "fp16", "backbone.fp16.onnx")
    assert (entry.batch, entry.parity, entry.opset) == ((1, 8), parity, None)
    assert entry.built_for is not None
    assert entry.built_for.versions == {"tensorrt": "10.3.0", "cuda": "12.6"}


def test_every_graph_gets_a_plan_of_its_own_precision(folder: Path, asked: list[dict[str, Any]]) -> None:
    entries = make(folder, build_of(), GRAPH, HALF)
    assert [(entry.file, entry.precision) for entry in entries] == [
        ("backbone.fp32.sm87.orin.trt10.3.engine", "fp32"),
        ("backbone.fp16.sm87.orin.trt10.3.engine", "fp16"),
    ]
    assert [call["graph"] for call in asked] == [b"backbone.onnx", b"backbone.fp16.onnx"]
    assert [(folder / entry.file).read_bytes() for entry in entries] == [b"plan 1", b"plan 2"]


def test_a_second_build_of_the_same_is_taken_from_the_cache(folder: Path, asked: list[dict[str, Any]]) -> None:
    (first,) = make(folder, build_of())
    (folder / first.file).unlink()
    assert make(folder, build_of()) == (first,)
    assert (folder / first.file).read_bytes() == b"plan 1"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (build_of(version="10.3.1"), {}),
        (build_of("tensorrt-rtx"), {}),
        (build_of(target="sm86"), {}),
        (build_of(device=Device("Orin Nano", "sm87", 7620, {"cuda": "12.6"})), {}),
        (build_of(device=Device("Orin", "sm87", 7620, {"cuda": "12.8"})), {}),
        (build_of(), {"batch": (1, 1, 2)}),
        (build_of(), {"batch": (1, 2, 2)}),
        (build_of(), {"workspace_mib": 9}),
        (build_of(), {"tf32": True}),
    ],
)
def test_whatever_else_differs_is_built_anew(
    folder: Path, asked: list[dict[str, Any]], build: PlanBuild, settings: dict[str, object]
) -> None:
    make(folder, build_of())
    make(folder, build, **settings)
    assert len(asked) == 2


def test_another_graph_is_built_anew_and_so_is_the_recipe_of_another_moase_edge(
    folder: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(folder, build_of())
    (folder / GRAPH.file).write_bytes(b"other weights")
    make(folder, build_of())
    monkeypatch.setattr(plans, "RECIPE", plans.RECIPE + 1)
    make(folder, build_of())
    assert len(asked) == 3


def test_a_damaged_cache_entry_is_never_written_into_an_artifact(
    folder: Path, asked: list[dict[str, Any]]
) -> None:
    make(folder, build_of())
    (entry,) = (folder.parent / "cache").glob("plan-*")
    entry.write_bytes(b"plan 9")
    (made,) = make(folder, build_of())
    assert (folder / made.file).read_bytes() == b"plan 2"


@pytest.mark.parametrize(("needed", "made"), [(1, ["fp32"]), (0, ["fp32"]), (None, None), (2, None)])
def test_a_plan_that_cannot_be_built_is_left_out_only_where_enough_others_are(
    needed: int | None, made: list[str] | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_plan(graph: bytes, *_arguments: object, **_options: object) -> BuiltPlan:
        if b"fp16" in graph:
            raise ExportError("no such operator")
        return BuiltPlan(b"plan", None)

    monkeypatch.setattr(plans, "build_plan", build_plan)
    cache, quiet = Cache(folder.parent / "cache"), {"announce": lambda stage: None}
    with nullcontext() if made else pytest.raises(ExportError, match="no such operator"):
        entries = build_plans(
            folder, [HALF, GRAPH], [build_of()], PlanSettings(), cache=cache, needed=needed, **quiet
        )
        assert [entry.precision for entry in entries] == made


def test_timings_go_from_one_build_to_the_next_on_the_same_device(
    folder: Path, asked: list[dict[str, Any]]
) -> None:
    make(folder, build_of(), GRAPH, HALF)
    make(folder, build_of(device=Device("Orin Nano", "sm87", 7620, {})))
    assert [call["timings"] for call in asked] == [None, b"timings 1", None]


def test_a_target_is_named_to_the_builder_only_where_it_is_not_the_gpu_at_hand(
    folder: Path, asked: list[dict[str, Any]]
) -> None:
    make(folder, build_of())
    make(folder, build_of("tensorrt-rtx", "1.7.1.116", "sm86", None))
    assert [call["target"] for call in asked] == [None, "sm86"]


def test_entries_are_plain_json(folder: Path, asked: list[dict[str, Any]]) -> None:
    (entry,) = make(folder, build_of())
    assert EngineEntry(**json.loads(entry.model_dump_json())) == entry
