"""Real plans, built by TensorRT-RTX for GPUs that are not there; and what is said of graphs that cannot be built.

What runs a plan needs a GPU, and is not tested here. A plan's header is read by TensorRT without one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from moase_edge.config.plan import PlanSettings
from moase_edge.config.precision import HalfPrecision, HalfStrategy
from moase_edge.engines.tensorrt.flavour import Flavour, MessageLog
from moase_edge.errors import ExportError
from moase_edge.export.plan_builder import build_plan
from tests.export import graphs

# Of few blocks; the last one is cut.
WIDTHS: dict[str, dict[str, Any]] = {
    "deit_tiny": {"architecture": "deit_tiny_patch16_224", "depth": 2, "num_classes": 10},
    "vit_b16": {"architecture": "vit_base_patch16_224", "depth": 1, "num_classes": 10},
}
# Most bytes that a graph may take of what the fp32 one takes; embeddings and biases stay in float beside int8.
FORMS = {"fp32": 1.0, "fp16": 0.6, "int8": 0.5}
widths = pytest.mark.parametrize("width", WIDTHS)
targets = pytest.mark.parametrize("target", ["sm86", "sm89"])

GraphOf = Callable[[str, str], bytes]


@pytest.fixture(scope="module")
def graph_of(tmp_path_factory: pytest.TempPathFactory) -> GraphOf:
    """Graphs by width and precision, each made once, as `export` makes them."""
    folder = tmp_path_factory.mktemp("graphs")

    @cache
    def made(width: str, precision: str) -> bytes:
        exact = folder / f"{width}.onnx"
        if precision == "fp32":
            return graphs.write_graph(exact, **WIDTHS[width])
        graph = made(width, "fp32")
        return (
            graphs.halved(graph) if precision == "fp16" else graphs.quantised(exact, folder / f"{width}.int8.onnx")
        )

    return made


@pytest.fixture(scope="module")
def digits(steerable_artifact: Path) -> bytes:
    """A whole small backbone that takes images and a shift."""
    return (steerable_artifact / "backbone.onnx").read_bytes()


def built(graph: bytes, flavour: Flavour, target: str = "sm86", **settings: object) -> bytes:
    """A plan that TensorRT takes for one, whatever else it misses for want of a GPU."""
    plan = build_plan(graph, flavour, PlanSettings.model_validate(settings), target=target)
    assert plan.timings is None
    trt = flavour.module
    _, faults = trt.Runtime(MessageLog(flavour).logger).get_engine_validity(plan.plan)
    assert not faults & int(trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE)
    return plan.plan


@widths
@targets
@pytest.mark.parametrize("precision", FORMS)
def test_what_an_export_makes_in_every_precision_becomes_a_plan(
    rtx: Flavour, graph_of: GraphOf, width: str, target: str, precision: str
) -> None:
    exact, graph = graph_of(width, "fp32"), graph_of(width, precision)
    assert len(graph) <= FORMS[precision] * len(exact)
    assert len(built(graph, rtx, target)) > 0.8 * len(graph)


@pytest.mark.parametrize(
    ("precision", "strategy"),
    [*product(["fp16"], get_args(HalfStrategy)[1:]), *product(["bf16"], get_args(HalfStrategy))],
)
def test_every_half_that_an_export_may_choose_becomes_a_plan(
    rtx: Flavour, graph_of: GraphOf, precision: HalfPrecision, strategy: HalfStrategy
) -> None:
    half = graphs.halved(graph_of("deit_tiny", "fp32"), precision, strategy)
    assert len(built(half, rtx)) > 0.8 * len(half)


@widths
@targets
def test_a_range_of_batches_becomes_a_plan(rtx: Flavour, graph_of: GraphOf, width: str, target: str) -> None:
    graph = graph_of(width, "fp16")
    assert len(built(graph, rtx, target, batch=(1, 2, 8))) > 0.8 * len(graph)


@pytest.mark.slow
def test_the_whole_of_vit_b16_becomes_a_half_plan(rtx: Flavour, tmp_path: Path) -> None:
    half = graphs.halved(graphs.write_graph(tmp_path / "vit.onnx", "vit_base_patch16_224"))
    assert len(half) > 170e6
    assert len(built(half, rtx)) > 0.95 * len(half)


@pytest.mark.parametrize("batch", [(1, 1, 8), (2, 4, 8), (4, 4, 4)])
def test_a_batch_is_built_for_every_input(rtx: Flavour, digits: bytes, batch: tuple[int, int, int]) -> None:
    assert len(built(digits, rtx, batch=batch)) > 0.8 * len(digits)


def test_an_output_that_loses_its_batch_is_refused_rather_than_answered_for_the_first_frame(
    rtx: Flavour, digits: bytes
) -> None:
    graph = graphs.with_vector_times_batch(digits)
    with pytest.raises(ExportError, match=r"no batch in the output means \(1, .*Leave --batch out"):
        built(graph, rtx, batch=(1, 1, 8))
    assert built(graph, rtx)


def test_an_unknown_operator_is_named_with_its_node_and_module(rtx: Flavour, digits: bytes) -> None:
    with pytest.raises(ExportError) as refused:
        built(graphs.with_unknown_operator(digits), rtx)
    message = str(refused.value)
    assert "the node node_Softmax" in message
    assert "(operator Frobnicate, in the PyTorch module blocks.0.attn)" in message
    assert "Plugin not found" in message
    assert "--engine ort" in message
    assert "\n" not in message
    assert refused.value.exit_code == 1


def test_a_product_that_does_not_fit_is_named_with_its_node_and_module(rtx: Flavour, digits: bytes) -> None:
    with pytest.raises(ExportError, match=r"operator (MatMul|Gemm), in the PyTorch module blocks\.0\.") as refused:
        built(graphs.with_mismatched_product(digits), rtx)
    assert "must match" in str(refused.value)
    assert "cudaError" not in str(refused.value)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_graph_that_is_cut_short_is_refused(rtx: Flavour, digits: bytes, share: float) -> None:
    with pytest.raises(ExportError, match="cut short"):
        built(digits[: int(share * len(digits))], rtx)


def test_too_little_workspace_says_which_option_to_change(rtx: Flavour, digits: bytes) -> None:
    with pytest.raises(ExportError, match=r"within workspace limit.*a larger --workspace-mib"):
        built(digits, rtx, workspace_mib=1)


def test_what_the_builder_says_is_seen_by_debug_alone(
    rtx: Flavour, digits: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        built(digits, rtx)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
