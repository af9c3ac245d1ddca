"""Q/DQ nodes by onnxruntime.quantization, held to what TensorRT wants of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from moase_edge.calib.products import PRODUCTS
from moase_edge.errors import CalibrationError

_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
}
_PRIVATE = "_into_"
# The quantiser infers types through files unless it finds that somebody did.
_INFERRED = {"onnx.infer": "onnxruntime.quant"}


def with_qdq(graph: Any, ranges: Mapping[str, float], nodes: Collection[str]) -> Any:
    """A copy of an ONNX model with a Q/DQ pair before each computed input of `nodes`, and int8 weights behind DQ.

    Nothing else reads a quantised value: neither a graph output nor another consumer of the same tensor.

    Args:
        graph: each node has a name of its own.
        ranges: magnitude up to which int8 reaches, by tensor; of every computed input of `nodes`.
        nodes: names of products.

    Raises:
        CalibrationError: onnxruntime's quantiser cannot be imported, or fails.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    private = _separate(copy, frozenset(nodes))
    quantised = _quantised(copy, {name: ranges[source] for name, source in private.items()}, list(nodes))
    _join(quantised, private)
    _order(quantised)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(graph.metadata_props)
    return quantised


def floated(quantised: Any, graph: Any, node: str) -> Any:
    """A copy of what `with_qdq` made of `graph` where one product reads float again; cheaper than making it anew.

    Its Q/DQ nodes stay, and nothing reads them.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(quantised)
    original = next(other for other in graph.graph.node if other.name == node)
    place = next(other for other in copy.graph.node if other.name == node)
    place.input[0], place.input[1] = original.input[0], original.input[1]
    there = {tensor.name for tensor in copy.graph.initializer}
    needed = [tensor for tensor in graph.graph.initializer if tensor.name in original.input[:2]]
    copy.graph.initializer.extend(tensor for tensor in needed if tensor.name not in there)
    return copy


def _quantised(copy: Any, ranges: Mapping[str, float], nodes: list[str]) -> Any:
    from onnx import TensorProto, helper

    try:
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import TensorData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    except ImportError as exc:
        raise CalibrationError(
            f"onnxruntime's quantiser cannot be imported ({exc}): `pip install 'moase-edge[cpu]'`."
        ) from exc
    copy.graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ranges)
    helper.set_model_props(copy, _INFERRED)
    spans = {
        name: TensorData(lowest=np.array(-reach, np.float32), highest=np.array(reach, np.float32))
        for name, reach in ranges.items()
    }
    int8 = QuantType.QInt8
    try:
        return QDQQuantizer(
            copy, True, False, int8, int8, spans, nodes, [], list(PRODUCTS), _OPTIONS
        ).quantize_model()
    except Exception as exc:  # it raises many unrelated types
        raise CalibrationError(f"onnxruntime could not quantise the graph: {exc}. Update onnxruntime.") from exc


def _separate(model: Any, nodes: frozenset[str]) -> dict[str, str]:
    """Give each product's computed inputs names of their own, behind an Identity; names of the sources by them.

    The quantiser would otherwise have every consumer of a tensor read the quantised value.
    """
    from onnx import helper

    constants = {tensor.name for tensor in model.graph.initializer}
    private: dict[str, str] = {}
    ordered = []
    for node in model.graph.node:
        if node.name in nodes:
            for place in (0, 1):
                source = node.input[place]
                if source in constants:
                    continue
                name = f"{source}{_PRIVATE}{node.name}_{place}"
                private[name] = source
                ordered.append(helper.make_node("Identity", [source], [name], name=name))
                node.input[place] = name
        ordered.append(node)
    kept = [_copied(node) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return private


def _join(model: Any, private: Mapping[str, str]) -> None:
    """Take the Identity nodes out again: what reads behind one reads its source."""
    kept = [_copied(node) for node in model.graph.node if node.output[0] not in private]
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = private.get(name, name)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    infos = [info for info in model.graph.value_info if info.name not in private]
    del model.graph.value_info[:]
    model.graph.value_info.extend(infos)


def _order(model: Any) -> None:
    """Put each node behind those whose outputs it reads; otherwise the order stays."""
    producers = {name: node for node in model.graph.node for name in node.output}
    placed: set[str] = set()
    ordered: list[Any] = []

    def place(node: Any) -> None:
        """Put a node behind the Q/DQ nodes that it reads, once."""
        if node.name in placed:
            return
        placed.add(node.name)
        for name in node.input:
            if name in producers and producers[name].op_type in ("QuantizeLinear", "DequantizeLinear"):
                place(producers[name])
        ordered.append(_copied(node))

    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            place(node)
    del model.graph.node[:]
    model.graph.node.extend(ordered)


def _copied(node: Any) -> Any:
    from onnx import NodeProto

    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
