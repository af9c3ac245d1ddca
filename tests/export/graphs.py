"""ONNX graphs of the shapes that plans are built for, of few blocks with random weights; and ones with a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import timm
import torch

from moase_edge.calib.quantise import quantise
from moase_edge.config.calib import QuantiseSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.config.precision import HalfPrecision, HalfStrategy
from moase_edge.export.half import half_graph
from moase_edge.export.onnx import export_onnx
from moase_edge.models.split import sidecar_spec, tensor_specs
from moase_edge.models.steer import cut

SIZE = 224


def write_graph(path: Path, architecture: str, **options: Any) -> bytes:
    """Export timm's `architecture` with random weights, cut for its last block and steerable, as `export` does."""
    torch.manual_seed(0)
    model = timm.create_model(architecture, **options).eval()
    spec = sidecar_spec(model, MoaseSettings(), 1)
    inputs, outputs = tensor_specs(spec, SIZE, SIZE, steer=True)
    with torch.no_grad():
        export_onnx(cut(model, spec, steer=True), inputs, outputs, path)
    return path.read_bytes()


def halved(graph: bytes, precision: HalfPrecision = "fp16", strategy: HalfStrategy = "plain") -> bytes:
    """The graph in half, as `export --precision` makes it."""
    return bytes(half_graph(onnx.load_from_string(graph), precision, strategy).SerializeToString())


def quantised(graph: Path, out: Path) -> bytes:
    """The graph with Q/DQ around its products, as `export --precision int8` makes it, by two frames of noise."""
    rng = np.random.default_rng(0)
    frames = [rng.standard_normal((1, 3, SIZE, SIZE), dtype=np.float32) for _ in range(2)]
    return quantise(graph, out, frames, QuantiseSettings()).path.read_bytes()


def with_unknown_operator(model: bytes) -> bytes:
    """The first softmax becomes an operator that nobody has."""
    changed = onnx.load_from_string(model)
    next(node for node in changed.graph.node if node.op_type == "Softmax").op_type = "Frobnicate"
    return bytes(changed.SerializeToString())


def with_vector_times_batch(model: bytes) -> bytes:
    """One output more, the shifts' mean over blocks as a vector times each: TensorRT's parser loses its batch."""
    from onnx import TensorProto, helper

    changed = onnx.load_from_string(model)
    _batch, blocks, channels = (size.dim_value for size in changed.graph.input[1].type.tensor_type.shape.dim)
    changed.graph.initializer.append(helper.make_tensor("row", TensorProto.FLOAT, [blocks], [1 / blocks] * blocks))
    changed.graph.node.append(helper.make_node("MatMul", ["row", "shift"], ["means"], name="mean_of_blocks"))
    changed.graph.output.append(helper.make_tensor_value_info("means", TensorProto.FLOAT, ["batch", channels]))
    return bytes(changed.SerializeToString())


def with_mismatched_product(model: bytes) -> bytes:
    """The weights of one product of the first MLP lose a row: a graph that can be read and has no meaning."""
    from onnx import numpy_helper

    changed = onnx.load_from_string(model)
    weights = {entry.name: entry for entry in changed.graph.initializer}
    products = (node for node in changed.graph.node if node.op_type in ("MatMul", "Gemm"))
    weight = next(weights[node.input[1]] for node in products if node.input[1] in weights)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight)[1:], weight.name))
    return bytes(changed.SerializeToString())
