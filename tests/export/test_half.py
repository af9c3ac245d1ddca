"""Half graphs, and the twin that a CPU computes with every half value rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from moase_edge.calib.rounded import rounded_graph
from moase_edge.config.precision import HalfPrecision, HalfStrategy
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.export.half import WIDE_NODES, half_graph, residual_nodes

ELEMENTS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
both = pytest.mark.parametrize("precision", get_args(HalfPrecision))
every = pytest.mark.parametrize("strategy", get_args(HalfStrategy))


def graph(nodes: list[Any], **weights: float) -> Any:
    """A float32 graph from `images` (B, 4) to `y` (B, 4)."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("images", "y")]
    tensors = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "made", ends[:1], ends[1:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def node(operator: str, inputs: list[str], output: str) -> Any:
    return helper.make_node(operator, inputs, [output], name=output)


def run(model: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    return OnnxRuntimeEngine(model.SerializeToString(), threads=1).run(images)["y"]


def overflowing() -> Any:
    """Sums 40000 x + 40000 x - 40000 x, by two sums of computed values, as residual streams are."""
    products = [node("Mul", ["images", "k"], "a"), node("Mul", ["images", "k"], "b"), node("Neg", ["a"], "c")]
    return graph([*products, node("Add", ["a", "b"], "sum"), node("Add", ["sum", "c"], "y")], k=40000.0)


@pytest.fixture(scope="module")
def digits(steerable_artifact: Path) -> Any:
    return onnx.load(str(steerable_artifact / "backbone.onnx"))


def types(model: Any) -> dict[str, int]:
    inferred = shape_inference.infer_shapes(model, strict_mode=True).graph
    entries = [*inferred.value_info, *inferred.output, *inferred.input]
    return {entry.name: entry.type.tensor_type.elem_type for entry in entries}


def test_the_strategies_are_those_of_the_settings_in_order_of_width() -> None:
    assert tuple(WIDE_NODES) == get_args(HalfStrategy)


@both
@every
def test_a_half_graph_is_valid_keeps_float32_at_its_ends_and_has_half_weights(
    digits: Any, precision: HalfPrecision, strategy: HalfStrategy
) -> None:
    half = half_graph(digits, precision, strategy)
    onnx.checker.check_model(half, full_check=True)
    found = types(half)
    for ends, expected in ((half.graph.input, digits.graph.input), (half.graph.output, digits.graph.output)):
        assert [end.name for end in ends] == [end.name for end in expected]
        assert {found[end.name] for end in ends} == {TensorProto.FLOAT}
    weights = [tensor for tensor in half.graph.initializer if len(tensor.dims) == 2]
    assert weights
    assert {tensor.data_type for tensor in weights} == {ELEMENTS[precision]}


@both
def test_wide_norms_keep_layer_norms_softmax_and_their_weights_in_float32(
    digits: Any, precision: HalfPrecision
) -> None:
    half = half_graph(digits, precision, "wide-norms")
    found = types(half) | {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    wide = [each for each in half.graph.node if each.op_type in ("LayerNormalization", "Softmax")]
    assert len(wide) > 4
    assert {found[name] for each in wide for name in (*each.input, *each.output)} == {TensorProto.FLOAT}


@both
def test_wide_residuals_hand_the_stream_on_unrounded(digits: Any, precision: HalfPrecision) -> None:
    half = half_graph(digits, precision, "wide-residuals")
    found, stream = types(half), set(residual_nodes(digits))
    sums = [each for each in half.graph.node if each.op_type == "Add" and each.name in stream]
    assert len(sums) >= 8
    assert {found[each.output[0]] for each in sums} == {TensorProto.FLOAT}
    casts = [each for each in half.graph.node if each.op_type == "Cast"]
    narrowed = {each.output[0] for each in casts if each.attribute[0].i == ELEMENTS[precision]}
    assert not narrowed & {each.input[0] for each in casts if each.attribute[0].i == TensorProto.FLOAT}


def test_the_twin_shows_an_overflow_that_only_wide_residuals_avoid() -> None:
    images = np.array([[1, 0.5, -1, 0]], np.float32)
    found = {
        strategy: run(rounded_graph(half_graph(overflowing(), "fp16", strategy)), images)
        for strategy in WIDE_NODES
    }
    assert np.isinf(found["plain"][0, [0, 2]]).all()
    assert np.isinf(found["wide-norms"][0, 0])
    np.testing.assert_array_equal(found["wide-residuals"], [[40000, 20000, -40000, 0]])


@pytest.mark.parametrize(("precision", "kind"), [("fp16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_the_twin_computes_what_half_arithmetic_does(precision: HalfPrecision, kind: Any) -> None:
    model = graph([node("Mul", ["images", "k"], "product"), node("Add", ["product", "b"], "y")], k=0.3, b=-1.7)
    images = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    product = (images.astype(kind) * np.array(0.3, np.float32).astype(kind)).astype(kind)
    expected = (product + np.array(-1.7, np.float32).astype(kind)).astype(kind).astype(np.float32)
    np.testing.assert_array_equal(run(rounded_graph(half_graph(model, precision, "plain")), images), expected)


def test_bfloat16_weights_are_rounded_once() -> None:
    """1 + 2^-8 + 2^-12 goes up to 1 + 2^-7; by way of float16 it would be a tie, and go down to 1."""
    half = half_graph(graph([node("Mul", ["images", "k"], "y")], k=1 + 2**-8 + 2**-12), "bf16", "plain")
    (weight,) = half.graph.initializer
    assert float(numpy_helper.to_array(weight)) == 1 + 2**-7


def test_the_model_is_left_as_it_is(digits: Any) -> None:
    before = digits.SerializeToString(deterministic=True)
    rounded_graph(half_graph(digits, "bf16", "wide-residuals"))
    assert digits.SerializeToString(deterministic=True) == before
