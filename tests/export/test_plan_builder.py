"""Real plans, built by TensorRT-RTX for GPUs that are not there; and what is said of graphs that cannot be built.

What runs a plan needs a GPU, and is not tested here. A plan's header is read by TensorRT without one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from moase_edge.config.plan import PlanSettings
from moase_edge.engines.tensorrt.flavour import Flavour, MessageLog
from moase_edge.errors import ExportError
from moase_edge.export.plan_builder import build_plan
from tests.export import graphs

DEIT_TINY: dict[str, Any] = {"architecture": "deit_tiny_patch16_224", "depth": 2, "num_classes": 10}
VIT_B16: dict[str, Any] = {"architecture": "vit_base_patch16_224", "depth": 1, "num_classes": 10}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def deit(folder: Path) -> bytes:
    """DeiT-Tiny's shapes in two blocks, float32."""
    return graphs.write_graph(folder / "deit.onnx", **DEIT_TINY)


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


@pytest.mark.parametrize("target", ["sm86", "sm89"])
def test_a_float32_graph_becomes_a_plan(rtx: Flavour, deit: bytes, target: str) -> None:
    assert len(built(deit, rtx, target)) > 0.8 * len(deit)


@pytest.mark.parametrize("target", ["sm86", "sm89"])
def test_a_half_graph_becomes_a_smaller_plan(rtx: Flavour, folder: Path, deit: bytes, target: str) -> None:
    path = folder / "deit.fp16.onnx"
    half = path.read_bytes() if path.exists() else graphs.write_graph(path, half=True, **DEIT_TINY)
    assert len(half) < 0.6 * len(deit)
    assert len(built(half, rtx, target)) > 0.8 * len(half)


@pytest.mark.parametrize("target", ["sm86", "sm89"])
def test_a_graph_with_int8_products_becomes_a_plan(rtx: Flavour, folder: Path, deit: bytes, target: str) -> None:
    path = folder / "deit.int8.onnx"
    quantised = path.read_bytes() if path.exists() else graphs.quantised(folder / "deit.onnx", path)
    assert len(quantised) < 0.5 * len(deit)
    assert len(built(quantised, rtx, target)) > 0.8 * len(quantised)


def test_a_block_as_wide_as_vit_b16_becomes_a_half_plan(rtx: Flavour, folder: Path) -> None:
    half = graphs.write_graph(folder / "vit.fp16.onnx", half=True, **VIT_B16)
    assert len(built(half, rtx)) > 0.8 * len(half)


@pytest.mark.slow
def test_the_whole_of_vit_b16_becomes_a_half_plan(rtx: Flavour, tmp_path: Path) -> None:
    half = graphs.write_graph(tmp_path / "vit.onnx", "vit_base_patch16_224", half=True)
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
