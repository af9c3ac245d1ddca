"""A float32 graph in half: weights and products in float16 or bfloat16, taps and frames still float32."""

from __future__ import annotations

from typing import Any

from moase_edge.config.precision import HalfPrecision, HalfStrategy

# Kept in float32 by each strategy; the residual sums are found in the graph.
WIDE_NODES: dict[HalfStrategy, tuple[str, ...]] = {
    "plain": (),
    "wide-norms": ("LayerNormalization", "Softmax"),
    "wide-residuals": ("LayerNormalization", "Softmax"),
}
# Operators that opset 18 does not define for bfloat16.
_NOT_IN_BFLOAT16 = ("Conv",)
# What only hands a part of the residual stream on, as steering does between two blocks.
_MOVES = ("Slice", "Concat")


def half_graph(model: Any, precision: HalfPrecision, strategy: HalfStrategy) -> Any:
    """An ONNX model's twin in half.

    ONNX Runtime's own converter (`onnxruntime.transformers.float16`) makes it, so that no package is added. Inputs
    and outputs stay float32, with casts behind and before them: hosts and the sidecar see the tensors that the
    manifest describes, whatever the precision.

    Args:
        model: an `onnx.ModelProto` in float32; left as it is.
        precision: bfloat16 has float32's range and 8 bits of precision, float16 11 bits and no number above 65504.
        strategy: what stays in float32.
    """
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    wide = (*WIDE_NODES[strategy], *(_NOT_IN_BFLOAT16 if precision == "bf16" else ()))
    converted = float16.convert_float_to_float16(
        _copy(model),
        keep_io_types=True,
        op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *wide],
        node_block_list=residual_nodes(model) if strategy == "wide-residuals" else [],
    )
    _join_wide(converted.graph)
    # It appends its casts at the end, and does not keep the types of what lies between: TensorRT minds both.
    OnnxModel(converted).topological_sort()
    del converted.graph.value_info[:]
    if precision == "bf16":
        _to_bfloat16(converted, model)
    return converted


def residual_nodes(model: Any) -> list[str]:
    """Names of the nodes that sum or hand on the residual stream: sums of two computed tensors, parts of them."""
    constant = {tensor.name for tensor in model.graph.initializer}
    stream: set[str] = set()
    found = []
    for node in model.graph.node:
        sums = node.op_type == "Add" and not constant & set(node.input)
        if sums or (node.op_type in _MOVES and stream & set(node.input)):
            stream.update(node.output)
            found.append(node.name)
    return found


def _join_wide(graph: Any) -> None:
    """Hand a float32 value on as it is where the converter narrows and widens it again between two wide nodes."""
    from onnx import TensorProto

    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    # A weight that only wide nodes take is float32 already; the converter casts it all the same.
    wide = {tensor.name: tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    wide.update({name: node.input[0] for name, node in casts.items() if node.attribute[0].i != TensorProto.FLOAT})
    exact = {name: wide[node.input[0]] for name, node in casts.items() if node.input[0] in wide}
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = exact.get(name, name)
    for output in graph.output:
        if output.name in exact:
            casts[output.name].input[0] = exact[output.name]
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [node for node in graph.node if node.op_type != "Cast" or node.output[0] in used]
    del graph.node[:]
    graph.node.extend(kept)


def _copy(model: Any) -> Any:
    twin = type(model)()
    twin.CopyFrom(model)
    return twin


def _to_bfloat16(half: Any, model: Any) -> None:
    """Give a float16 graph bfloat16 in its place, its weights rounded from the float32 ones."""
    import ml_dtypes
    from onnx import TensorProto, numpy_helper

    exact = {tensor.name: tensor for tensor in model.graph.initializer}
    for tensor in half.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(exact.get(tensor.name, tensor))
            tensor.CopyFrom(numpy_helper.from_array(values.astype(ml_dtypes.bfloat16), tensor.name))
    for node in half.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.BFLOAT16
