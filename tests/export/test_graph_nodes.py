"""Nodes are read from an ONNX file's bytes as onnx reads them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from moase_edge.errors import ExportError
from moase_edge.export.graph_nodes import NAME_SCOPES, GraphNode, graph_nodes


def model_of(*scopes: str | None) -> bytes:
    """A chain of Relu nodes, each with the scopes that the exporter notes."""
    names = [f"x{index}" for index in range(len(scopes) + 1)]
    nodes = []
    for index, scope in enumerate(scopes):
        node = helper.make_node("Relu", [names[index]], [names[index + 1]], name=f"relu_{index}")
        if scope is not None:
            node.metadata_props.add(key="other", value="nothing")
            node.metadata_props.add(key=NAME_SCOPES, value=scope)
        nodes.append(node)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [300]) for name in (names[0], names[-1])]
    return bytes(helper.make_model(helper.make_graph(nodes, "g", infos[:1], infos[1:])).SerializeToString())


@pytest.mark.parametrize(
    ("scopes", "module"),
    [
        ("['', 'model.blocks.0', 'model.blocks.0.attn', 'softmax']", "blocks.0.attn"),
        ("['', 'head', 'linear']", "head"),
        ("['', 'add']", None),
        ("['', '_empty_nn_module_stack', 'pow']", None),
        ("[]", None),
        ("not a list", None),
        (None, None),
    ],
)
def test_a_node_tells_the_module_it_came_from(scopes: str | None, module: str | None) -> None:
    assert graph_nodes(model_of(scopes)) == {"relu_0": GraphNode("relu_0", "Relu", module)}


def test_names_and_operators_are_those_that_onnx_reads(digits_artifact: Path) -> None:
    path = digits_artifact / "backbone.onnx"
    found = graph_nodes(path.read_bytes())
    assert {name: node.operator for name, node in found.items()} == {
        node.name: node.op_type for node in onnx.load(path).graph.node
    }
    assert {"blocks.0.attn.qkv", "blocks.5.mlp.fc1", "head"} <= {node.module for node in found.values()}


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_bytes_that_are_no_whole_file_are_refused(cut: int) -> None:
    with pytest.raises(ExportError, match="cut short"):
        graph_nodes(model_of("['']", "['']")[:-cut])
