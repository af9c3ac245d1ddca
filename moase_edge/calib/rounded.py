"""A half graph that ONNX Runtime's CPU provider computes as it is written: every half value is rounded to half.

The provider has few kernels in half. It runs a float16 graph in float32 and drops the casts in between, so that
only the weights are rounded and nothing overflows; a bfloat16 graph it refuses. So neither would tell from its own
run whether the graph is good on a GPU.
"""

from __future__ import annotations

from typing import Any

_ROUNDED = "_rounded"


def rounded_graph(half: Any) -> Any:
    """A float32 graph with the values of a half graph: after each node a cast to half and back.

    Sums inside one node are in float32, as tensor cores make them; a kernel that sums in half is not shown.

    Args:
        half: an `onnx.ModelProto` with float32 inputs and outputs; left as it is.
    """
    from onnx import TensorProto, shape_inference

    halves = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    model = shape_inference.infer_shapes(half)
    types = {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.value_info}
    nodes = list(model.graph.node)
    del model.graph.node[:], model.graph.value_info[:]
    _widen_weights(model, halves)
    for node in nodes:
        kind = next((types[name] for name in node.output if types.get(name) in halves), None)
        model.graph.node.extend([node] if kind is None else _rounding(node, kind))
    return model


def _widen_weights(model: Any, halves: tuple[int, ...]) -> None:
    import numpy as np
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type in halves:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))


def _rounding(node: Any, kind: int) -> list[Any]:
    """The node in float32, and casts that give its output the values of `kind` under its own name."""
    from onnx import TensorProto, helper

    name = node.output[0]
    if node.op_type == "Cast":
        node.output[0] = name + _ROUNDED
        return [node, helper.make_node("Cast", [name + _ROUNDED], [name], to=TensorProto.FLOAT)]
    exact = name + "_exact"
    node.output[0] = exact
    return [
        node,
        helper.make_node("Cast", [exact], [name + _ROUNDED], to=kind),
        helper.make_node("Cast", [name + _ROUNDED], [name], to=TensorProto.FLOAT),
    ]
