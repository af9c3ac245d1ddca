"""A tiny graph with every kind of product, small enough to follow by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SCOPES = "pkg.torch.onnx.name_scopes"
SIZE, CHANNELS, HIDDEN, CLASSES = 4, 4, 6, 5


def tiny_graph(path: Path, *, wild: bool = False) -> Path:
    """Write images (B, 3, 4, 4) -> patches by a Conv, fc, an attention-like product, pooled tokens, a Gemm head.

    Four tokens of four channels; `mid` (B, 4, 4), `out` (B, 4, 6), `logits` (B, 5). It also takes a shift
    (B, 1, 4), which is added to the tokens, and multiplies a constant row with them: no product to quantise.

    Args:
        wild: the second column of `fc` is so large that one scale for the activations behind it spoils the others.
    """
    rng = np.random.default_rng(0)
    fc = rng.standard_normal((CHANNELS, HIDDEN))
    fc[:, 1] *= 300 if wild else 1
    weights = {
        "patch": rng.standard_normal((CHANNELS, 3, 2, 2)),
        "fc": fc,
        "bias": rng.standard_normal(HIDDEN),
        "mean": np.full(4, 0.25),
        "head": rng.standard_normal((CLASSES, HIDDEN)),
        "head_bias": np.zeros(CLASSES),
    }
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([0, CHANNELS, -1], np.int64), "shape"))
    nodes = [
        helper.make_node("Conv", ["images", "patch"], ["grid"], "conv", strides=[2, 2]),
        helper.make_node("Reshape", ["grid", "shape"], ["rows"], "reshape"),
        helper.make_node("Transpose", ["rows"], ["tokens"], "transpose", perm=[0, 2, 1]),
        helper.make_node("Add", ["tokens", "shift"], ["mid"], "add"),
        _scoped(helper.make_node("MatMul", ["mid", "fc"], ["wide"], "matmul"), "model.fc", "linear"),
        helper.make_node("Add", ["wide", "bias"], ["hidden"], "bias_add"),
        helper.make_node("Transpose", ["mid"], ["keys"], "turn", perm=[0, 2, 1]),
        _scoped(helper.make_node("MatMul", ["mid", "keys"], ["scores"], "attend"), "model.attn", "product"),
        helper.make_node("Softmax", ["scores"], ["weights"], "softmax", axis=-1),
        helper.make_node("MatMul", ["weights", "hidden"], ["out"], "mix"),
        helper.make_node("MatMul", ["mean", "out"], ["pooled"], "mean_of_tokens"),
        helper.make_node("Gemm", ["pooled", "head", "head_bias"], ["logits"], "classify", transB=1),
    ]
    inputs = [_info("images", "B", 3, SIZE, SIZE), _info("shift", "B", 1, CHANNELS)]
    outputs = [_info("mid", "B", 4, CHANNELS), _info("out", "B", 4, HIDDEN), _info("logits", "B", CLASSES)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


def tiny_frames(count: int, seed: int = 0) -> list[NDArray[np.float32]]:
    """Frames (1, 3, 4, 4) of standard normal noise."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((1, 3, SIZE, SIZE)).astype(np.float32) for _ in range(count)]


def _info(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _scoped(node: Any, module: str, function: str) -> Any:
    node.metadata_props.add(key=SCOPES, value=str(["", module, function]))
    return node
