"""Which engine is tried first: a table of manifests and machines."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from moase_edge.artifact.manifest import BuiltFor, EngineEntry, EngineParity
from moase_edge.config.names import EngineName
from moase_edge.engines.choose import AUTO_ORDER, GRAPH_RUNNERS, Machine, Runner, choices
from moase_edge.engines.onnx_runtime import Provider
from moase_edge.engines.tensorrt.device import Device
from moase_edge.errors import EngineError

ORIN = Device("Orin", "sm87", 8192, {"cuda": "12.6"})
RTX = Device("NVIDIA GeForce RTX 3060", "sm86", 12288, {"cuda": "13.0", "driver": "580.10"})

L4 = Device("NVIDIA L4", "sm89", 24576, {"cuda": "13.0"})


def parity(*, passed: bool = True) -> EngineParity:
    figures = {"cosine": 1.0, "relative_error": 0.0, "gradients": 1.0, "top1_agreement": 1.0}
    return EngineParity(passed=passed, measured_on="ONNX Runtime", **figures)


def graph(precision: str = "fp32", **more: Any) -> EngineEntry:
    return EngineEntry(file=f"backbone.{precision}.onnx", precision=precision, opset=18, **more)  # type: ignore[arg-type]


def plan(precision: str = "fp16", runtime: str = "tensorrt", target: str = "sm87", **more: Any) -> EngineEntry:
    built = BuiltFor(target=target, versions={runtime: {"tensorrt": "10.3.0", "tensorrt-rtx": "1.7.1"}[runtime]})
    return EngineEntry(
        file=f"backbone.{precision}.{target}.{runtime}.engine",
        runtime=runtime,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        source="backbone.fp32.onnx",
        built_for=built,
        **more,
    )


def machine(device: Device | None = None, *providers: Provider, rtx: bool = False, trt: bool = False) -> Machine:
    flavours = {**({"tensorrt": "10.3.0"} if trt else {}), **({"tensorrt-rtx": "1.7.1"} if rtx else {})}
    return Machine("AMD EPYC", device, frozenset(providers or ("cpu",)), flavours)  # type: ignore[arg-type]


FAST = {"latency_ms": 2.0, "measured_on": "TensorRT 10.3.0 (Orin, fp16) on Orin"}
SLOW = {**FAST, "latency_ms": 5.0}
ON_RTX = {"latency_ms": 3.0, "measured_on": "ONNX Runtime 1.32 (CUDA) on NVIDIA GeForce RTX 3060"}
ON_L40S = {"latency_ms": 5.0, "measured_on": "ONNX Runtime 1.32 (CUDA) on NVIDIA L40S"}
ON_EPYC = {"latency_ms": 20.0, "measured_on": "ONNX Runtime 1.32 (CPU) on AMD EPYC"}
TABLE: list[tuple[str, list[EngineEntry], Machine, list[tuple[str, str]]]] = [
    ("only a CPU", [graph()], machine(), [("ort", "fp32")]),
    ("CUDA before the CPU", [graph()], machine(RTX, "cpu", "cuda"), [("ort-cuda", "fp32"), ("ort", "fp32")]),
    (
        "ONNX Runtime's TensorRT is never taken by itself",
        [graph()],
        machine(RTX, "cpu", "cuda", "tensorrt"),
        [("ort-cuda", "fp32"), ("ort", "fp32")],
    ),
    (
        "a plan that fits before CUDA",
        [graph(), plan()],
        machine(ORIN, "cpu", "cuda", trt=True),
        [("tensorrt", "fp16"), ("ort-cuda", "fp32"), ("ort", "fp32")],
    ),
    ("a plan for another GPU is passed over", [graph(), plan()], machine(RTX, trt=True), [("ort", "fp32")]),
    ("a plan without its flavour is passed over", [graph(), plan()], machine(ORIN), [("ort", "fp32")]),
    ("a plan without a GPU is passed over", [graph(), plan()], machine(trt=True), [("ort", "fp32")]),
    (
        "TensorRT before TensorRT-RTX",
        [graph(), plan(runtime="tensorrt-rtx", target="sm86"), plan(target="sm86")],
        machine(RTX, trt=True, rtx=True),
        [("tensorrt", "fp16"), ("tensorrt-rtx", "fp16"), ("ort", "fp32")],
    ),
    (
        "of plans that were not measured the first",
        [graph(), plan("int8"), plan("fp16")],
        machine(ORIN, trt=True),
        [("tensorrt", "int8"), ("tensorrt", "fp16"), ("ort", "fp32")],
    ),
    (
        "of plans that were measured here the fastest",
        [graph(), plan("int8", **SLOW), plan("fp16", **FAST)],
        machine(ORIN, trt=True),
        [("tensorrt", "fp16"), ("tensorrt", "int8"), ("ort", "fp32")],
    ),
    (
        "a plan that was measured before one that was not",
        [graph(), plan("int8"), plan("fp16", **SLOW)],
        machine(ORIN, trt=True),
        [("tensorrt", "fp16"), ("tensorrt", "int8"), ("ort", "fp32")],
    ),
    (
        "of two that are as fast the first",
        [graph(), plan("fp16", **FAST), plan("int8", **{**FAST, "latency_ms": 1.95})],
        machine(ORIN, trt=True),
        [("tensorrt", "fp16"), ("tensorrt", "int8"), ("ort", "fp32")],
    ),
    (
        "what was measured elsewhere counts for nothing",
        [graph("fp32", **ON_EPYC), graph("int8", latency_ms=2.0, measured_on="ONNX Runtime on an Intel")],
        machine(),
        [("ort", "fp32"), ("ort", "int8")],
    ),
    (
        "what a GPU took whose name only begins alike says nothing of this one",
        [graph("fp32", **ON_L40S), graph("int8", **{**ON_L40S, "latency_ms": 1.0})],
        machine(L4, "cpu", "cuda"),
        [("ort-cuda", "fp32"), ("ort-cuda", "int8"), ("ort", "fp32"), ("ort", "int8")],
    ),
    (
        "what CUDA took says nothing of the CPU",
        [graph("fp32", **ON_EPYC), graph("fp16", **ON_RTX)],
        machine(RTX, "cpu", "cuda"),
        [("ort-cuda", "fp16"), ("ort-cuda", "fp32"), ("ort", "fp32"), ("ort", "fp16")],
    ),
    (
        "what the CPU took says nothing of CUDA",
        [graph("fp16"), graph("fp32", **ON_EPYC)],
        machine(RTX, "cpu", "cuda"),
        [("ort-cuda", "fp16"), ("ort-cuda", "fp32"), ("ort", "fp32"), ("ort", "fp16")],
    ),
    (
        "a plan that failed its gate is passed over",
        [graph(), plan("int8", parity=parity(passed=False), **FAST), plan("fp16", parity=parity(), **SLOW)],
        machine(ORIN, trt=True),
        [("tensorrt", "fp16"), ("ort", "fp32")],
    ),
    (
        "precisions of the CPU are chosen likewise",
        [graph("fp32", **ON_EPYC), graph("int8", **{**ON_EPYC, "latency_ms": 9.0}, parity=parity())],
        machine(),
        [("ort", "int8"), ("ort", "fp32")],
    ),
]


@pytest.mark.parametrize(("entries", "there", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_auto_tries_the_best_first(
    entries: list[EngineEntry], there: Machine, expected: list[tuple[str, str]]
) -> None:
    assert [(choice.runner, choice.entry.precision) for choice in choices(entries, there)] == expected


def test_reasons_say_what_decided() -> None:
    measured = [graph(), plan("int8", **SLOW), plan("fp16", **FAST)]
    first, second, last = choices(measured, machine(ORIN, trt=True))
    assert first.reason == "a plan fits this GPU; fp16 is the fastest measured here (2.00 ms)"
    assert second.reason == "a plan fits this GPU; int8 is the next best"
    assert last.reason == "ONNX Runtime has no CUDA"
    unmeasured, _ = choices([graph(), graph("int8")], machine())
    assert unmeasured.reason.endswith("fp32 is the artifact's first, none was measured here")


def test_a_precision_that_was_put_first_and_cannot_be_had_is_told_of() -> None:
    planned, on_the_cpu, _ = choices([graph("int8"), graph(), plan("fp32")], machine(ORIN, trt=True))
    assert (planned.entry.precision, on_the_cpu.entry.precision) == ("fp32", "int8")
    assert planned.reason == (
        "a plan fits this GPU; of int8, the artifact's first, there is no plan: `moase-edge export --rebuild DIR` "
        "builds one"
    )
    assert choices([graph("int8"), plan("int8"), plan("fp32")], machine(ORIN, trt=True))[0].entry == plan("int8")
    (half,) = choices([graph("bf16"), graph()], machine())
    assert half.reason.endswith("; ONNX Runtime on the CPU has no bf16, the artifact's first")


def test_a_reason_does_not_deny_what_is_tried_before() -> None:
    no_plan = [choice.reason for choice in choices([graph(), plan()], machine(RTX, "cpu", "cuda"))]
    assert no_plan == ["no plan fits, and ONNX Runtime has CUDA", "no plan fits, and the CPU is left"]
    entries = [graph(), plan("fp32")]
    planned = [choice.reason for choice in choices(entries, machine(ORIN, "cpu", "cuda", trt=True))]
    assert planned == ["a plan fits this GPU", "ONNX Runtime has CUDA", "the CPU is left"]


def test_a_name_gives_that_engine_alone_even_if_it_will_not_open() -> None:
    entries = [graph(), plan()]
    for name, precision in (("ort", "fp32"), ("ort-cuda", "fp32"), ("ort-tensorrt", "fp32"), ("tensorrt", "fp16")):
        (choice,) = choices(entries, machine(), name)  # type: ignore[arg-type]
        assert (choice.runner, choice.entry.precision, choice.reason) == (name, precision, "it was asked for")


def test_the_cpu_is_not_given_bfloat16_where_it_can_do_otherwise() -> None:
    assert choices([graph("bf16"), graph()], machine(), "ort")[0].entry.precision == "fp32"
    assert choices([graph("bf16"), graph()], machine(), "ort-cuda")[0].entry.precision == "bf16"
    assert choices([graph("bf16")], machine(), "ort")[0].entry.precision == "bf16"


def test_of_plans_that_were_asked_for_one_that_fits_comes_first() -> None:
    entries = [graph(), plan("int8", target="sm86"), plan("fp16", target="sm87")]
    (choice,) = choices(entries, machine(ORIN, trt=True), "tensorrt")
    assert choice.entry.precision == "fp16"


def test_what_the_artifact_lacks_is_refused_with_the_way_to_get_it() -> None:
    with pytest.raises(EngineError, match=r"holds no plan of tensorrt-rtx\. `moase-edge export --rebuild DIR`"):
        choices([graph(), plan()], machine(ORIN, trt=True), "tensorrt-rtx")
    with pytest.raises(EngineError, match="passed its parity gate"):
        choices([graph(), plan(parity=parity(passed=False))], machine(ORIN, trt=True), "tensorrt")


def test_names_are_those_of_the_settings() -> None:
    assert set(get_args(EngineName)) == {"auto", *get_args(Runner)}
    assert set(AUTO_ORDER) == set(get_args(Runner)) - {"ort-tensorrt"}
    assert set(GRAPH_RUNNERS) < set(get_args(Runner))
