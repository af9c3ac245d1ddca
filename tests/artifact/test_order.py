"""The order of an artifact's engines, on entries alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moase_edge.artifact.manifest import BuiltFor, EngineEntry
from moase_edge.artifact.order import put_before_alike, put_beside, put_first, told_of_plans

MEASURED = {"latency_ms": 1.0, "measured_on": "ONNX Runtime"}


def graph(precision: str, **more: Any) -> EngineEntry:
    return EngineEntry(file=f"{precision}.onnx", precision=precision, opset=18, **more)  # type: ignore[arg-type]


def plan(precision: str) -> EngineEntry:
    built = BuiltFor(target="sm87", versions={"tensorrt": "10.3.0"})
    return EngineEntry(
        file=f"{precision}.engine",
        runtime="tensorrt",
        precision=precision,  # type: ignore[arg-type]
        source="fp32.onnx",
        built_for=built,
    )


def test_a_precision_that_is_put_first_is_not_outrun_by_what_was_measured_of_others() -> None:
    int8, fast = graph("int8", **MEASURED), graph("fp32", **MEASURED)
    ordered = put_first([fast, plan("fp32"), int8, plan("int8")], "int8")
    assert ordered == (int8, plan("int8"), graph("fp32"), plan("fp32"))
    assert put_first(ordered, "int8") == ordered


def test_an_engine_stands_behind_those_of_its_precision_and_a_new_precision_at_the_end() -> None:
    int8, exact = graph("int8"), graph("fp32")
    assert put_beside([int8, exact], [plan("int8"), graph("bf16")]) == (int8, plan("int8"), exact, graph("bf16"))
    assert put_beside([exact, plan("fp32")], [plan("fp32")]) == (exact, plan("fp32"))


def test_plans_that_go_before_the_first_precision_are_told_of() -> None:
    told = told_of_plans([graph("int8"), graph("fp32"), plan("fp32")], Path("digits"))
    assert told is not None
    assert told.startswith("int8 goes first, but as a graph")
    assert "fp32.engine" in told
    assert "`moase-edge export --rebuild digits`" in told
    assert told_of_plans([graph("int8"), plan("int8"), graph("fp32"), plan("fp32")], Path("digits")) is None
    assert told_of_plans([graph("int8"), graph("fp32")], Path("digits")) is None


def test_a_named_plan_goes_before_those_that_serve_alike_and_is_not_outrun_by_what_was_measured_of_them() -> None:
    exact = plan("fp32").model_copy(update=MEASURED)
    fast, wide = (plan("fp32").model_copy(update={"file": file}) for file in ("fast.engine", "wide.engine"))
    wide = wide.model_copy(update={"batch": (1, 8), **MEASURED})
    engines = (graph("fp32"), exact, wide, fast, plan("fp16"))
    ordered = put_before_alike(engines, {"fast.engine", "fp16.engine"})
    assert ordered == (graph("fp32"), fast, wide, plan("fp32"), plan("fp16"))
    assert put_before_alike(ordered, {"fast.engine"}) == ordered
    assert put_before_alike(engines, {"absent.engine"}) == engines
