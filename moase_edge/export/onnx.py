"""The frozen backbone as one portable ONNX file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from moase_edge.artifact.specs import TensorSpec
from moase_edge.errors import ExportError

OPSET = 18
_MAX_BYTES = 2**31 - 1
_GRAPH_BYTES = 2**23  # of nodes and names beside the weights: far more than the largest accepted models have
# The exporter notes source paths of the build machine on every node; the module's name is what helps a reader.
_KEPT_METADATA = "pkg.torch.onnx.name_scopes"


def export_onnx(
    module: nn.Module, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], path: Path
) -> int:
    """Write `module` as an ONNX file with a dynamic batch and all weights inside.

    Args:
        module: takes a float32 tensor on the CPU for each of `inputs` and returns one for each of `outputs`.
        inputs, outputs: names and shapes, in order; the first size of each is the batch.
        path: where the file is written.

    Returns:
        The opset of the graph.

    Raises:
        ExportError: the exporter failed, or the file would pass 2 GB.
        OSError: the file cannot be written.
    """
    weights_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
    if weights_bytes + _GRAPH_BYTES > _MAX_BYTES:
        raise ExportError(
            f"the backbone's weights take {weights_bytes / 2**30:.2f} GiB, an ONNX file holds less than 2 GiB. "
            "Take a smaller backbone."
        )
    program = _exported(module, inputs, outputs)
    strip_traces(program.model)
    program.save(str(path), external_data=False)
    return int(program.model.opset_imports[""])


def _exported(module: nn.Module, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Any:
    """PyTorch's ONNX program of a module, the first size of every tensor left open."""
    examples = tuple(torch.zeros(2, *(size for size in entry.shape[1:] if size is not None)) for entry in inputs)
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        try:
            program = torch.onnx.export(
                module,
                examples,
                dynamo=True,
                input_names=[entry.name for entry in inputs],
                output_names=[output.name for output in outputs],
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
        except Exception as exc:  # the exporter wraps faults of every kind
            raise ExportError(f"PyTorch could not export the backbone to ONNX: {exc}") from exc
    if program is None:
        raise ExportError("PyTorch's exporter returned no ONNX program. Update torch and onnxscript.")
    return program


def strip_traces(model: Any) -> None:
    """Drop metadata that names the build machine; keep the PyTorch module's name of every node."""
    for graph in (model.graph, *model.functions.values()):
        for node in graph:
            kept = node.metadata_props.get(_KEPT_METADATA)
            node.metadata_props.clear()
            if kept is not None:
                node.metadata_props[_KEPT_METADATA] = kept
            for value in node.outputs:
                value.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log lines about the exporter's own internals; failures still raise."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
