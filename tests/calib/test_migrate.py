"""Channels are evened out before int8, and the float graph computes what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from moase_edge.calib.migrate import divisors, migratable, migrated
from moase_edge.calib.observe import observe
from moase_edge.calib.products import open_session
from moase_edge.calib.quantise import quantise
from moase_edge.config.calib import QuantiseSettings

C = 4


def normed_graph(path: Path, *, also_read: bool = False) -> Any:
    """images (B, 3, 4, 4) -> rows (B, 12, 4) -> LayerNorm whose third channel is 40 times the others -> MatMul."""
    rng = np.random.default_rng(0)
    scale = np.array([1, 1, 40, 1], np.float32)
    weights = {"scale": scale, "bias": np.ones(C), "w": rng.standard_normal((C, 6))}
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([0, -1, C], np.int64), "shape"))
    nodes = [
        helper.make_node("Reshape", ["images", "shape"], ["rows"], "reshape"),
        helper.make_node("LayerNormalization", ["rows", "scale", "bias"], ["normed"], "norm"),
        helper.make_node("MatMul", ["normed", "w"], ["logits"], "product"),
        *([helper.make_node("Neg", ["normed"], ["mid"], "neg")] if also_read else []),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 12, 6])]
    if also_read:
        outputs.append(helper.make_tensor_value_info("mid", TensorProto.FLOAT, ["B", 12, C]))
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 3, 4, 4])
    graph = helper.make_graph(nodes, "normed", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    return model


def frames(count: int) -> list[Any]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((1, 3, 4, 4)).astype(np.float32) for _ in range(count)]


def answers(model: Any, images: list[Any]) -> Any:
    session = open_session(model)
    return np.concatenate([session.run(["logits"], {"images": image})[0] for image in images])


def test_divisors_are_the_largest_activation_and_weight_to_their_powers() -> None:
    found = divisors(np.array([4.0, 9.0, 0.0]), [np.array([[1.0, -4.0], [1.0, 0.5], [1.0, 1.0]], np.float32)], 0.5)
    np.testing.assert_allclose(found, [(4 / 4) ** 0.5, (9 / 1) ** 0.5, 1])


def test_the_graph_computes_the_same_and_its_channels_are_evener(tmp_path: Path) -> None:
    model = normed_graph(tmp_path / "normed.onnx")
    assert migratable(model, {"product"}) == {"normed": ["w"]}
    seen = observe(model, ["normed"], frames(4), bins=256)
    changed = migrated(model, {"normed": ["w"]}, seen, 0.5)
    onnx.checker.check_model(changed)
    np.testing.assert_allclose(answers(changed, frames(4)), answers(model, frames(4)), rtol=2e-5, atol=2e-5)
    after = observe(changed, ["normed"], frames(4), bins=256)["normed"]
    largest = [np.abs(of.channels[:2]).max(axis=0) for of in (seen["normed"], after)]  # type: ignore[index]
    assert largest[0].max() / largest[0].min() > 20
    assert largest[1].max() / largest[1].min() < 10
    assert sorted(tensor.name for tensor in changed.graph.initializer) == [
        "bias.migrated.norm",
        "scale.migrated.norm",
        "shape",
        "w",
    ]


def test_int8_loses_less_with_it(tmp_path: Path) -> None:
    model = normed_graph(tmp_path / "normed.onnx")
    exact = answers(model, frames(8))
    errors = []
    for smooth in (0.0, 0.5):
        settings = QuantiseSettings(method="minmax", smooth=smooth)
        done = quantise(tmp_path / "normed.onnx", tmp_path / "int8.onnx", frames(8), settings)
        errors.append(np.linalg.norm(answers(onnx.load(str(done.path)), frames(8)) - exact))
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("case", ["another reader", "in float"])
def test_what_somebody_else_reads_or_stays_in_float_is_left_alone(case: str, tmp_path: Path) -> None:
    model = normed_graph(tmp_path / "normed.onnx", also_read=case == "another reader")
    assert migratable(model, {"product"} if case == "another reader" else set()) == {}
