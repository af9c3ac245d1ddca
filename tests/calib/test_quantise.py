"""Q/DQ where TensorRT wants it, node by node, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from moase_edge.calib.products import open_session
from moase_edge.calib.quantise import Quantised, quantise
from moase_edge.config.calib import QuantiseSettings
from moase_edge.errors import CalibrationError
from tests.calib.graphs import tiny_frames, tiny_graph


def quantised(folder: Path, **options: Any) -> tuple[Quantised, Any]:
    attention = options.pop("attention", True)
    settings = QuantiseSettings(method="minmax", attention=attention)
    done = quantise(tiny_graph(folder / "tiny.onnx"), folder / "int8.onnx", tiny_frames(8), settings, **options)
    return done, onnx.load(str(done.path))


def producers(model: Any) -> dict[str, Any]:
    return {name: node for node in model.graph.node for name in node.output}


def constants(model: Any) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize(
    ("node", "sources"),
    [
        ("conv", ("images", None)),
        ("matmul", ("mid", None)),
        ("attend", ("mid", "keys")),
        ("mix", ("weights", "hidden")),
        ("classify", ("pooled", None)),
    ],
)
def test_each_product_reads_int8_and_nothing_is_quantised_behind_it(
    node: str, sources: tuple[str | None, ...], tmp_path: Path
) -> None:
    _, model = quantised(tmp_path)
    made, held = producers(model), constants(model)
    product = next(other for other in model.graph.node if other.name == node)
    for name, source in zip(product.input[:2], sources, strict=True):
        dequantise = made[name]
        assert dequantise.op_type == "DequantizeLinear"
        assert (held[dequantise.input[2]] == 0).all()
        if source is None:
            weight = held[dequantise.input[0]]
            assert weight.dtype == np.int8
            assert held[dequantise.input[1]].size == weight.shape[dequantise.attribute[0].i]
            continue
        quantise_node = made[dequantise.input[0]]
        assert (quantise_node.op_type, quantise_node.input[0]) == ("QuantizeLinear", source)
        assert held[quantise_node.input[2]].dtype == np.int8
        assert held[quantise_node.input[1]].size == 1
    behind = [other.op_type for other in model.graph.node if product.output[0] in other.input]
    assert "DequantizeLinear" not in behind
    if node != "mix":  # whose output the means of tokens read, and nothing in int8
        assert "QuantizeLinear" not in behind


def test_biases_sums_softmax_and_outputs_stay_in_float(tmp_path: Path) -> None:
    _, model = quantised(tmp_path)
    onnx.checker.check_model(model)
    read = {
        name: node.op_type
        for node in model.graph.node
        for name in node.input
        if name.endswith("DequantizeLinear_Output")
    }
    assert set(read.values()) == {"Conv", "MatMul", "Gemm"}
    assert constants(model)["head_bias"].dtype == np.float32
    assert [(output.name, output.type.tensor_type.elem_type) for output in model.graph.output] == [
        (name, onnx.TensorProto.FLOAT) for name in ("mid", "out", "logits")
    ]


def test_the_output_mid_is_not_rounded_although_a_product_reads_it_in_int8(tmp_path: Path) -> None:
    done, model = quantised(tmp_path, keep_float=["conv"])
    frame = tiny_frames(1)[0]
    feeds = {"images": frame, "shift": np.zeros((1, 1, 4), np.float32)}
    exact = open_session(onnx.load(str(tmp_path / "tiny.onnx"))).run(["mid"], feeds)[0]
    np.testing.assert_array_equal(open_session(model).run(["mid"], feeds)[0], exact)
    assert "mid" in done.ranges


def test_the_scale_is_the_range_over_127_and_weights_have_one_a_channel(tmp_path: Path) -> None:
    done, model = quantised(tmp_path)
    made, held = producers(model), constants(model)
    matmul = next(node for node in model.graph.node if node.name == "matmul")
    left, right = (made[name] for name in matmul.input)
    assert held[left.input[1]] == pytest.approx(done.ranges["mid"] / 127)
    fc = constants(onnx.load(str(tmp_path / "tiny.onnx")))["fc"]
    np.testing.assert_allclose(held[right.input[1]], np.abs(fc).max(axis=0) / 127, rtol=1e-6)
    largest = max(float(np.abs(frame).max()) for frame in tiny_frames(8))
    assert done.ranges["images"] == largest


def test_the_answer_is_near_the_float_one_at_any_batch_and_shift(tmp_path: Path) -> None:
    _, model = quantised(tmp_path)
    rng = np.random.default_rng(3)
    feeds = {
        "images": np.concatenate(tiny_frames(3)),
        "shift": 0.1 * rng.standard_normal((3, 1, 4)).astype(np.float32),
    }
    exact = open_session(onnx.load(str(tmp_path / "tiny.onnx"))).run(["logits"], feeds)[0]
    found = open_session(model).run(["logits"], feeds)[0]
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


def test_the_share_of_multiply_adds_is_that_by_hand_and_attention_can_stay_in_float(tmp_path: Path) -> None:
    total = 192 + 96 + 64 + 96 + 30
    assert quantised(tmp_path)[0].share == 1
    done, _ = quantised(tmp_path, attention=False)
    assert done.share == pytest.approx((192 + 96 + 30) / total)
    assert [product.node for product in done.kept] == ["attend", "mix"]


@pytest.mark.parametrize("name", ["matmul", "model.fc"])
def test_a_layer_is_kept_in_float_by_its_node_or_its_module(name: str, tmp_path: Path) -> None:
    done, model = quantised(tmp_path, keep_float=[name])
    assert "matmul" not in [product.node for product in done.nodes]
    matmul = next(node for node in model.graph.node if node.name == "matmul")
    assert list(matmul.input) == ["mid", "fc"]


def test_the_same_input_gives_the_same_bytes_and_no_path_of_the_machine(tmp_path: Path) -> None:
    first = quantised(tmp_path)[0].path.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    second = quantised(tmp_path / "elsewhere")[0].path.read_bytes()
    assert first == second
    assert str(tmp_path).encode() not in first


def test_a_shared_weight_serves_both_of_its_products(tmp_path: Path) -> None:
    model = onnx.load(str(tiny_graph(tmp_path / "tiny.onnx")))
    second = onnx.helper.make_node("MatMul", ["mid", "fc"], ["twice"], "again")
    model.graph.node.insert(5, second)
    model.graph.node[6].input[0] = "sum"
    model.graph.node.insert(6, onnx.helper.make_node("Add", ["wide", "twice"], ["sum"], "sum_add"))
    onnx.save(model, str(tmp_path / "shared.onnx"))
    settings = QuantiseSettings(method="minmax")
    done = quantise(tmp_path / "shared.onnx", tmp_path / "int8.onnx", tiny_frames(4), settings)
    feeds = {"images": tiny_frames(1)[0], "shift": np.zeros((1, 1, 4), np.float32)}
    exact = open_session(model).run(["logits"], feeds)[0]
    found = open_session(onnx.load(str(done.path))).run(["logits"], feeds)[0]
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


def test_what_cannot_be_quantised_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"no product called model.nope"):
        quantised(tmp_path, keep_float=["model.nope"])
    with pytest.raises(CalibrationError, match="no product is left"):
        quantised(tmp_path, keep_float=["conv", "matmul", "attend", "mix", "classify"])
    settings, model = QuantiseSettings(), tiny_graph(tmp_path / "tiny.onnx")
    with pytest.raises(CalibrationError, match="no calibration frame"):
        quantise(model, tmp_path / "x.onnx", [], settings)
    with pytest.raises(CalibrationError, match="is 0 on every calibration frame"):
        quantise(model, tmp_path / "x.onnx", [np.zeros((1, 3, 4, 4), np.float32)], settings)
    with pytest.raises(CalibrationError, match="not finite on calibration frame 1"):
        quantise(
            model, tmp_path / "x.onnx", [*tiny_frames(1), np.full((1, 3, 4, 4), np.nan, np.float32)], settings
        )
    with pytest.raises(CalibrationError, match="failed on a calibration frame of shape"):
        quantise(model, tmp_path / "x.onnx", [np.ones((1, 3, 5, 5), np.float32)], settings)
    assert not (tmp_path / "x.onnx").exists()
