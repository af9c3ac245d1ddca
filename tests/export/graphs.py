"""ONNX graphs of the shapes that plans are built for, of few blocks with random weights; and ones with a fault."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import timm
import torch
from torch import Tensor, nn

from moase_edge.config.moase import MoaseSettings
from moase_edge.export.onnx import export_onnx
from moase_edge.models.split import sidecar_spec, tensor_specs
from moase_edge.models.steer import cut

SIZE = 224


class Half(nn.Module):
    """A module in half precision between float32 inputs and outputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.model = module.half()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(output.float() for output in self.model(images.half()))


def write_graph(path: Path, architecture: str, *, half: bool = False, **options: Any) -> bytes:
    """Export timm's `architecture` with random weights, cut for its last block, as `export` does."""
    torch.manual_seed(0)
    model = timm.create_model(architecture, **options).eval()
    spec = sidecar_spec(model, MoaseSettings(), 1)
    inputs, outputs = tensor_specs(spec, SIZE, SIZE, steer=False)
    module = cut(model, spec, steer=False)
    with torch.no_grad():
        export_onnx(Half(module) if half else module, inputs, outputs, path)
    return path.read_bytes()


class _Noise:
    """Two frames of noise, as onnxruntime's calibration reads them."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._frames = [rng.standard_normal((1, 3, SIZE, SIZE), dtype=np.float32) for _ in range(2)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"images": self._frames.pop()} if self._frames else None


def quantised(graph: Path, out: Path) -> bytes:
    """The graph with Q/DQ around its products, symmetric, weights by channel: what TensorRT takes as int8."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    logging.disable(logging.WARNING)
    try:
        quantize_static(
            str(graph),
            str(out),
            _Noise(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm", "Conv"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
    finally:
        logging.disable(logging.NOTSET)
    return out.read_bytes()


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
