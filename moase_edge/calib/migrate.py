"""Even out channels before they share one int8 scale: from the LayerNorm into the weights behind it.

SmoothQuant (Xiao et al., arXiv 2211.10438): what a channel of an activation is divided by, the rows of the weights
that read it are multiplied with. A LayerNorm takes the division into its own scale and bias, so that the float
graph computes the same as before and has no node more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.calib.histogram import Histogram

_SUFFIX = ".migrated"


def _readers(graph: Any) -> dict[str, list[Any]]:
    readers: dict[str, list[Any]] = {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for entry in graph.graph.output:
        readers.setdefault(entry.name, []).extend([None, None])
    return readers


def migratable(graph: Any, nodes: Collection[str]) -> dict[str, list[str]]:
    """Weights by the output of each LayerNorm that nothing but MatMuls of `nodes` with weights of their own read.

    Args:
        graph: an ONNX model.
        nodes: products that become int8.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.graph.initializer}
    readers = _readers(graph)

    def fits(node: Any, source: str) -> bool:
        """Whether a node is a chosen product of `source` with weights that nothing else reads."""
        mine = node is not None and node.name in nodes and node.op_type == "MatMul" and node.input[0] == source
        return mine and len(shapes.get(node.input[1], ())) == 2 and len(readers[node.input[1]]) == 1

    found = {}
    for norm in graph.graph.node:
        source = norm.output[0]
        if norm.op_type != "LayerNormalization" or norm.input[1] not in shapes:
            continue
        if source in readers and all(fits(node, source) for node in readers[source]):
            found[source] = [node.input[1] for node in readers[source]]
    return found


def migrated(graph: Any, weights: Mapping[str, list[str]], seen: Mapping[str, Histogram], strength: float) -> Any:
    """A copy of `graph` whose LayerNorm outputs have evener channels; in exact arithmetic it computes the same.

    Args:
        graph: an ONNX model.
        weights: by LayerNorm output, as `migratable` gives them.
        seen: of these outputs, with channels.
        strength: alpha; 0 would even out the weights alone, 1 the activations alone.
    """
    import onnx
    from onnx import numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    held = {tensor.name: tensor for tensor in copy.graph.initializer}
    for norm in [node for node in copy.graph.node if node.output[0] in weights]:
        channels = seen[norm.output[0]].channels
        rows = [numpy_helper.to_array(held[name]) for name in weights[norm.output[0]]]
        if channels is None or channels.shape[1] != len(rows[0]):
            continue
        divisor = divisors(np.abs(channels[:2]).max(axis=0), rows, strength)
        for name, row in zip(weights[norm.output[0]], rows, strict=True):
            held[name].CopyFrom(numpy_helper.from_array(row * divisor[:, None], name))
        for place in (1, 2)[: len(norm.input) - 1]:
            # A norm's tensors may serve another one too.
            name = f"{norm.input[place]}{_SUFFIX}.{norm.name}"
            value = numpy_helper.to_array(held[norm.input[place]]) / divisor
            copy.graph.initializer.append(numpy_helper.from_array(value, name))
            norm.input[place] = name
    _drop_unread(copy)
    return copy


def divisors(
    largest: NDArray[np.float64], weights: list[NDArray[np.float32]], strength: float
) -> NDArray[np.float32]:
    """(C,) divisor of each channel: largest activation**alpha / largest weight**(1 - alpha); 1 where one is 0.

    Args:
        largest: (C,) magnitude of the activation.
        weights: (C, n) each, that read it.
    """
    reading = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = largest**strength / reading ** (1 - strength)
    even = np.where((largest > 0) & (reading > 0), found, 1.0)
    result: NDArray[np.float32] = even.astype(np.float32)
    return result


def _drop_unread(model: Any) -> None:
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    if len(kept) < len(model.graph.initializer):
        import onnx

        copies = []
        for tensor in kept:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copies.append(copy)
        del model.graph.initializer[:]
        model.graph.initializer.extend(copies)
