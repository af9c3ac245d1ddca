"""The products of an ONNX graph that can run in int8: which, of what, and how many multiply-adds."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import CalibrationError

PRODUCTS = ("MatMul", "Gemm", "Conv")
_MOVES = ("Slice", "Gather", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity")
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True, slots=True)
class Product:
    """One MatMul, Gemm or Conv.

    Attributes:
        node: name of the ONNX node.
        kind: its operator.
        module: the PyTorch module that it came from, such as `model.blocks.0.mlp.fc1`; empty where unknown.
        activations: inputs that are computed.
        weight: the constant right factor; None for a product of two activations.
        multiply_adds: for one frame.
    """

    node: str
    kind: str
    module: str
    activations: tuple[str, ...]
    weight: str | None
    multiply_adds: int

    @property
    def title(self) -> str:
        """The module, or where there is none, or it has several products, the node."""
        return self.module if self.module and self.weight is not None else self.node


def load_graph(path: Path) -> Any:
    """The ONNX model of a file, each node with a name of its own.

    Raises:
        CalibrationError: onnx is missing, or the file is no ONNX graph.
    """
    try:
        import onnx
    except ImportError as exc:
        raise CalibrationError(
            f"onnx cannot be imported ({exc}), and quantising needs it: `pip install 'moase-edge[export]'`."
        ) from exc
    try:
        model = onnx.load(str(path))
    except Exception as exc:  # protobuf and onnx raise unrelated types
        raise CalibrationError(f"{path} is no ONNX graph: {exc}. Name a backbone.onnx of an export.") from exc
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)
    return model


def products_of(model: Any, shapes: Mapping[str, Sequence[int]]) -> list[Product]:
    """The products of a graph in its order, without those of a constant left factor (means over tokens).

    Args:
        model: an ONNX model.
        shapes: of the inputs and outputs of its products, for one frame (see `product_shapes`).
    """
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type not in PRODUCTS or node.input[0] in constants:
            continue
        weight = node.input[1] if node.input[1] in constants else None
        activations = tuple(node.input[:1] if weight else node.input[:2])
        factor = constants[weight] if weight else tuple(shapes[node.input[1]])
        count = multiply_adds(node, factor, shapes[node.output[0]])
        found.append(Product(node.name, node.op_type, _module(node), activations, weight, count))
    return found


def multiply_adds(node: Any, right: Sequence[int], out: Sequence[int]) -> int:
    """Of one product whose right factor and result have these shapes: entries of the result times terms of each.

    Terms are input channels a group times kernel for a Conv, else the length of the dimension summed over.
    """
    if node.op_type == "Conv":
        return math.prod(out) * math.prod(right[1:])
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return math.prod(out) * (right[-1] if transposed else right[-2])


def product_tensors(model: Any) -> list[str]:
    """Every computed tensor that goes into or comes out of a product, once, in the graph's order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [
        name
        for node in model.graph.node
        if node.op_type in PRODUCTS
        for name in (*node.input[:2], node.output[0])
        if name not in constants
    ]
    return list(dict.fromkeys(names))


def normed_tensors(model: Any) -> frozenset[str]:
    """What comes out of a LayerNorm, also through nodes that only pick and rearrange."""
    normed: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "LayerNormalization" or (node.op_type in _MOVES and node.input[0] in normed):
            normed.update(node.output)
    return frozenset(normed)


def open_session(model: Any, *, more_outputs: Sequence[str] = ()) -> Any:
    """An ONNX Runtime session on the CPU that also returns the tensors `more_outputs`.

    Raises:
        CalibrationError: ONNX Runtime is missing or refuses the graph.
    """
    try:
        import onnx
        import onnxruntime as ort
    except ImportError as exc:
        raise CalibrationError(
            f"quantising needs onnx and onnxruntime ({exc}): `pip install 'moase-edge[export,cpu]'`."
        ) from exc
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    there = {entry.name for entry in (*copy.graph.output, *copy.graph.input)}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in more_outputs if name not in there)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime raises many unrelated types
        raise CalibrationError(f"ONNX Runtime cannot run the graph that is calibrated: {exc}") from exc


def feeds(session: Any, frame: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """`frame` (1, 3, H, W) for the first input, zeros for the others (a shift)."""
    first, *others = session.get_inputs()
    zeros = {entry.name: np.zeros((1, *entry.shape[1:]), np.float32) for entry in others}
    return {first.name: frame, **zeros}


def product_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of `product_tensors` for one frame, found by running a frame of zeros."""
    names = [name for name in product_tensors(model) if name not in {entry.name for entry in model.graph.input}]
    session = open_session(model, more_outputs=names)
    frame = np.zeros((1, *session.get_inputs()[0].shape[1:]), np.float32)
    values = session.run(names, feeds(session, frame))
    inputs = {entry.name: (1, *entry.shape[1:]) for entry in session.get_inputs()}
    return {**inputs, **{name: value.shape for name, value in zip(names, values, strict=True)}}


def _module(node: Any) -> str:
    """The innermost module that the exporter noted on a node; functions that it noted below are left out."""
    noted = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), None)
    try:
        scopes = ast.literal_eval(noted) if noted else []
    except (ValueError, SyntaxError):
        return ""
    modules = [scope for scope in scopes[:-1] if isinstance(scope, str)]
    return modules[-1] if modules else ""
