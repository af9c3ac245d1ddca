"""One set of buffers, the execution context bound to them, and the CUDA graph of both."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.engines.tensorrt.memory import DeviceMemory, Staged
from moase_edge.engines.tensorrt.plan import Plan
from moase_edge.errors import EngineError

logger = logging.getLogger(__name__)


class Slot:
    """Buffers of one batch; a context of its own, so that addresses are set once and a graph of it stays valid.

    Args:
        plan: loaded.
        memory: where the buffers are taken.
        batch: rows of each buffer, which the plan takes.
        graphs: whether to capture the run as a CUDA graph at its first.

    Attributes:
        outputs: buffers by name.
        ran: whether it was run.
    """

    def __init__(self, plan: Plan, memory: DeviceMemory, batch: int, *, graphs: bool) -> None:
        self._plan, self._memory = plan, memory
        self._inputs: dict[str, Staged] = {
            port.name: memory.staged((batch, *port.shape), port.dtype) for port in plan.inputs
        }
        self.outputs: dict[str, Any] = {
            port.name: memory.buffer((batch, *port.shape), port.dtype) for port in plan.outputs
        }
        self._context = plan.context(batch)
        for name, buffer in {**self._inputs, **self.outputs}.items():
            plan.check(self._context.set_tensor_address(name, buffer.address), f"the address of {name}")
        self._wants_graph = graphs
        self._replay: Callable[[], None] | None = None
        self.ran = False

    @property
    def has_graph(self) -> bool:
        """Whether runs replay a CUDA graph."""
        return self._replay is not None

    def run(self, inputs: dict[str, NDArray[np.float32]]) -> None:
        """Upload and enqueue on the current stream; nothing is waited for.

        Raises:
            EngineError: TensorRT refused.
        """
        for name, rows in inputs.items():
            self._inputs[name].upload(rows)
        if not self.ran:
            self.ran = True
            self._replay = self._captured() if self._wants_graph else None
        if self._replay is not None:
            self._replay()
        else:
            self._enqueue(self._memory.stream())

    def _enqueue(self, stream: int) -> None:
        self._plan.check(self._context.execute_async_v3(stream), "a run")

    def _captured(self) -> Callable[[], None] | None:
        """The graph; None where the memory has none, or the plan cannot be captured."""
        try:
            return self._memory.captured(self._enqueue, self._capturable)
        except (RuntimeError, EngineError) as exc:
            logger.warning("no CUDA graph of this plan, it runs without: %s", str(exc).splitlines()[0])
            return None

    def _capturable(self, stream: int) -> bool:
        """What TensorRT-RTX and TensorRT 11 tell; TensorRT 10 has no such question, and a capture shows it."""
        ask = getattr(self._context, "is_stream_capturable", None)
        told = ask is None or bool(ask(stream))
        if not told:
            logger.warning(
                "no CUDA graph of this plan, it runs without: %s says that it cannot be captured",
                self._plan.flavour.title,
            )
        return told
