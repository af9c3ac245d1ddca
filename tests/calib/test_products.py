"""Products of a graph, their multiply-adds and the modules they came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from moase_edge.calib.products import load_graph, product_shapes, products_of
from moase_edge.errors import CalibrationError
from tests.calib.graphs import tiny_graph


def test_multiply_adds_are_those_counted_by_hand(tmp_path: Path) -> None:
    graph = load_graph(tiny_graph(tmp_path / "tiny.onnx"))
    counted = {product.node: product.multiply_adds for product in products_of(graph, product_shapes(graph))}
    assert counted == {
        "conv": 4 * 2 * 2 * 3 * 2 * 2,  # 4 maps of 2 x 2, each a sum over 3 maps of 2 x 2
        "matmul": 4 * 6 * 4,  # 4 tokens x 6 units, each a sum over 4 channels
        "attend": 4 * 4 * 4,
        "mix": 4 * 6 * 4,
        "classify": 5 * 6,
    }


def test_a_product_names_its_module_and_two_activations_their_node(tmp_path: Path) -> None:
    graph = load_graph(tiny_graph(tmp_path / "tiny.onnx"))
    products = {product.node: product for product in products_of(graph, product_shapes(graph))}
    assert (products["matmul"].title, products["matmul"].weight) == ("model.fc", "fc")
    assert (products["attend"].title, products["attend"].module) == ("attend", "model.attn")
    assert products["attend"].activations == ("mid", "keys")
    assert products["conv"].title == "conv"


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    with pytest.raises(CalibrationError, match="is no ONNX graph"):
        load_graph(tmp_path / "no.onnx")
