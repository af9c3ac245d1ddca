"""The nodes of an ONNX file, read without onnx: which PyTorch module each came from.

A device that builds plans has no onnx. Only the wire format of protocol buffers is needed, and a few field numbers
of onnx.proto; weights are stepped over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from moase_edge.errors import ExportError

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
_GRAPH = 7  # of ModelProto
_NODE = 1  # of GraphProto
_NAME, _OPERATOR, _METADATA = 3, 4, 9  # of NodeProto
_KEY, _VALUE = 1, 2  # of StringStringEntryProto
_NO_MODULE = "_empty"  # how the exporter begins the name of what it put in itself
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DAMAGED = "the ONNX file is cut short or is none"


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One node of a graph.

    Attributes:
        name: unique in its graph.
        operator: as "MatMul".
        module: qualified name of the PyTorch module it came from, as "blocks.0.attn"; None where none was noted.
    """

    name: str
    operator: str
    module: str | None


def graph_nodes(model: bytes) -> dict[str, GraphNode]:
    """The nodes of a model's main graph by name.

    Raises:
        ExportError: these are no bytes of an ONNX file.
    """
    try:
        graphs = [graph for number, graph in _fields(memoryview(model)) if number == _GRAPH]
        nodes = [_node(node) for graph in graphs for number, node in _fields(graph) if number == _NODE]
    except (IndexError, UnicodeDecodeError) as exc:
        raise ExportError(f"{_DAMAGED}. Export again.") from exc
    return {node.name: node for node in nodes}


def _node(message: memoryview) -> GraphNode:
    name, operator, module = "", "", None
    for number, content in _fields(message):
        if number == _NAME:
            name = str(content, "utf-8")
        elif number == _OPERATOR:
            operator = str(content, "utf-8")
        elif number == _METADATA:
            entry = {key: str(value, "utf-8") for key, value in _fields(content)}
            module = _module(entry.get(_VALUE, "")) if entry.get(_KEY) == NAME_SCOPES else module
    return GraphNode(name, operator, module)


def _module(scopes: str) -> str | None:
    """The innermost module of PyTorch's list of scopes: the last is the operation's own, the first the root's."""
    try:
        names = ast.literal_eval(scopes)
        *modules, _operation = map(str, names)
    except (ValueError, SyntaxError, TypeError):
        return None
    named = [module for module in modules if module and not module.startswith(_NO_MODULE)]
    return named[-1].removeprefix("model.") if named else None


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and contents of a message's length-delimited fields; the others are stepped over."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            size, position = _varint(message, position)
            if position + size > len(message):
                raise IndexError(_DAMAGED)
            yield number, message[position : position + size]
            position += size
        elif wire == _VARINT:
            _, position = _varint(message, position)
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise IndexError(_DAMAGED)


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the position after it."""
    value, shift = 0, 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position
