"""Join ONNX graphs: the frozen backbone, with what was learned grafted into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from moase_edge.artifact.specs import SHIFT, TOKEN_MEANS
from moase_edge.errors import ExportError

_AGAIN = "Export the artifact again with this version of moase-edge."


class Graft:
    """A graph that others are joined to; tensors of each keep their names behind a prefix.

    Args:
        backbone: the ONNX model of an artifact's engine; taken over.
    """

    def __init__(self, backbone: Any) -> None:
        import onnx.compose

        if backbone.functions:
            raise ExportError(f"the backbone's graph has functions of its own, which are not joined. {_AGAIN}")
        self.model = onnx.compose.add_prefix(backbone, "backbone/", rename_inputs=False)
        self._graph = self.model.graph

    def key_of(self, block: int) -> str:
        """The mean token at the entrance of a block as a tensor (B, C); the backbone has it as (B, 1, C)."""
        from onnx import helper, numpy_helper

        joined = self._producer(f"backbone/{TOKEN_MEANS}", "Concat")
        key, axis = "backbone/key", "backbone/key_axis"
        self._graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), axis))
        self._graph.node.append(helper.make_node("Squeeze", [joined.input[block], axis], [key]))
        return key

    @property
    def takes_shift(self) -> bool:
        """Whether the backbone can be steered."""
        return any(entry.name == SHIFT for entry in self._graph.input)

    def feed_shift(self, block: int | None = None, tensor: str = "") -> None:
        """Feed a tensor (B, C) as the shift of one block, and zeros to the others; to all where none is named."""
        from onnx import numpy_helper

        means = next(entry for entry in self._graph.output if entry.name == f"backbone/{TOKEN_MEANS}")
        channels = means.type.tensor_type.shape.dim[2].dim_value
        zeros = "backbone/no_shift"
        self._graph.initializer.append(numpy_helper.from_array(np.zeros((1, channels), np.float32), zeros))
        taken = [node for node in self._graph.node if SHIFT in node.input]
        if any(node.op_type != "Gather" for node in taken):
            raise ExportError(f"the backbone takes its shift in another way than expected. {_AGAIN}")
        for node in taken:
            source = tensor if self._index(node.input[1]) == block else zeros
            self._rename({node.output[0]: source})
            self._graph.node.remove(node)

    def join(self, model: Any, prefix: str, fed: Mapping[str, str]) -> None:
        """Add another graph, whose inputs are tensors that there are.

        Args:
            fed: tensor for each of its inputs.
        """
        import onnx.compose

        added = onnx.compose.add_prefix(model, f"{prefix}/")
        renamed = {f"{prefix}/{name}": tensor for name, tensor in fed.items()}
        for node in added.graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
        self._graph.node.extend(added.graph.node)
        self._graph.initializer.extend(added.graph.initializer)

    def finished(self, output: str, shape: tuple[str | int, ...]) -> Any:
        """The model from `images` to this output, named `logits`, with what it needs and nothing else."""
        import onnx
        from onnx import helper

        self._rename({output: "logits"})
        for node in self._graph.node:
            node.output[:] = ["logits" if name == output else name for name in node.output]
        needed = _in_order(self._graph.node, "logits")
        used = {name for node in needed for name in node.input}
        initializers = [entry for entry in self._graph.initializer if entry.name in used]
        graph = helper.make_graph(
            needed,
            "moase-edge",
            [entry for entry in self._graph.input if entry.name == "images"],
            [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape)],
            initializers,
        )
        return helper.make_model(
            graph,
            opset_imports=self.model.opset_import,
            ir_version=self.model.ir_version,
            producer_name="moase-edge",
        )

    def _rename(self, names: Mapping[str, str]) -> None:
        for node in self._graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]

    def _producer(self, tensor: str, kind: str) -> Any:
        node = next((node for node in self._graph.node if tensor in node.output), None)
        if node is None or node.op_type != kind:
            found = None if node is None else node.op_type
            raise ExportError(f"{tensor} in the backbone comes from {found}; expected {kind}. {_AGAIN}")
        return node

    def _index(self, name: str) -> int:
        from onnx import numpy_helper

        entry = next((entry for entry in self._graph.initializer if entry.name == name), None)
        if entry is None:
            raise ExportError(f"{name} in the backbone is no constant. {_AGAIN}")
        return int(numpy_helper.to_array(entry).reshape(-1)[0])


def _in_order(nodes: Iterable[Any], output: str) -> list[Any]:
    """The nodes that an output needs, each behind those that it reads from.

    Raises:
        ExportError: they need each other.
    """
    producers = {name: node for node in nodes for name in node.output}
    ordered: list[Any] = []
    states: dict[int, bool] = {}  # by id: False while it is being visited
    stack = [(producers[output], False)]
    while stack:
        node, left = stack.pop()
        if left:
            states[id(node)] = True
            ordered.append(node)
            continue
        if id(node) in states:
            continue
        states[id(node)] = False
        stack.append((node, True))
        for name in node.input:
            before = producers.get(name)
            if before is None or states.get(id(before)):
                continue
            if id(before) in states:
                raise ExportError(f"the joined graph reads {name} before it is made. {_AGAIN}")
            stack.append((before, False))
    return ordered
