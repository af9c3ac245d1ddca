"""TensorRT plans as engines: TensorRT 10 and 11 and TensorRT-RTX, in PyTorch's memory or pycuda's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.manifest import Precision
from moase_edge.artifact.specs import SHIFT
from moase_edge.engines.base import Tensors
from moase_edge.engines.shift import fitting_shift
from moase_edge.engines.tensorrt.memory import DeviceMemory
from moase_edge.engines.tensorrt.plan import Plan
from moase_edge.engines.tensorrt.slot import Slot
from moase_edge.errors import EngineError

if TYPE_CHECKING:
    from torch import Tensor

# Two sets of buffers that are handed out in turn, and one for answers that go to the host.
_SlotName = Literal["even", "odd", "host"]


class PlanRunner:
    """Fits batches to a plan and runs them, in buffers that are made once for each batch size.

    Args:
        plan: loaded.
        memory: where the buffers are taken; closed with the runner.
        graphs: capture a CUDA graph for each set of buffers.
    """

    def __init__(self, plan: Plan, memory: DeviceMemory, *, graphs: bool = True) -> None:
        self._plan: Plan | None = plan
        self._memory, self._graphs = memory, graphs
        self._slots: dict[tuple[_SlotName, int], Slot] = {}
        self._images = next(port for port in plan.inputs if port.name != SHIFT)
        shifts = [port.shape for port in plan.inputs if port.name == SHIFT]
        self._blocks = (shifts[0][0], shifts[0][1]) if shifts else None

    def run(self, slot: _SlotName, images: NDArray[np.float32], shift: NDArray[np.float32] | None) -> Slot:
        """Run a batch in one set of buffers; its first rows hold the answer.

        Raises:
            EngineError: what does not fit, or TensorRT's own words.
        """
        plan = self._open()
        batch = self._fitting_batch(plan, images)
        inputs = {self._images.name: images}
        fitting = fitting_shift(shift, self._blocks, len(images))
        if fitting is not None:
            inputs[SHIFT] = fitting
        chosen = self._slot(plan, slot, batch)
        fresh = not chosen.ran
        chosen.run(inputs)
        if fresh:  # TensorRT-RTX has compiled by now, which takes seconds: kept even if the process is killed
            plan.keep_cache()
        return chosen

    def prepare(self) -> None:
        """Make one set of buffers and its context now, so that too little memory shows before the first frame.

        Raises:
            EngineError: memory does not suffice.
        """
        plan = self._open()
        self._slot(plan, "host", plan.batch[0])

    def download(self, slot: Slot, rows: int) -> Tensors:
        """The first rows of every output, in host memory."""
        return {name: self._memory.download(buffer, rows) for name, buffer in slot.outputs.items()}

    @property
    def has_graph(self) -> bool:
        """Whether every set of buffers that ran so far replays a CUDA graph; not before the first run."""
        ran = [slot for slot in self._slots.values() if slot.ran]
        return bool(ran) and all(slot.has_graph for slot in ran)

    def close(self) -> None:
        """Release buffers, contexts, plan and memory."""
        if self._plan is not None:
            self._plan.keep_cache()
            self._slots.clear()
            self._plan = None
            self._memory.close()

    def _slot(self, plan: Plan, name: _SlotName, batch: int) -> Slot:
        if (name, batch) not in self._slots:
            self._slots[name, batch] = Slot(plan, self._memory, batch, graphs=self._graphs)
        return self._slots[name, batch]

    def _open(self) -> Plan:
        if self._plan is None:
            raise EngineError("this engine was closed. Open the artifact again.")
        return self._plan

    def _fitting_batch(self, plan: Plan, images: NDArray[np.float32]) -> int:
        smallest, largest = plan.batch
        sound = images.ndim == 4 and images.shape[1:] == self._images.shape and images.dtype == np.float32
        if not sound or not 1 <= len(images) <= largest:
            shape = " x ".join(map(str, self._images.shape))
            frames = str(largest) if smallest == largest else f"{smallest} to {largest}"
            raise EngineError(
                f"the engine failed on a batch of shape {images.shape}, {images.dtype}; this plan takes up to "
                f"{frames} frames of {shape}, float32. Give such a batch, or build the plan for another one."
            )
        return padded_batch(len(images), smallest, largest)


def padded_batch(batch: int, smallest: int, largest: int) -> int:
    """The batch that is run for one of `batch` rows: the next power of two that the plan takes.

    Each batch size has buffers and a graph of its own; few of them keep memory from growing.
    """
    return min(max(1 << (batch - 1).bit_length(), smallest), largest)


class TensorRtEngine:
    """A plan whose answers go to the host.

    Args:
        runner: of the plan.
        name: for people.
        precision: that the plan computes in.
    """

    def __init__(self, runner: PlanRunner, name: str, *, precision: Precision = "fp32") -> None:
        self._runner = runner
        self.name, self.precision = name, precision

    @property
    def has_graph(self) -> bool:
        """Whether it replays CUDA graphs (see `PlanRunner`)."""
        return self._runner.has_graph

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """(B, 3, H, W) float32, and (B, L, C) float32 to steer -> outputs by name (see `Engine`)."""
        return self._runner.download(self._runner.run("host", images, shift), len(images))

    def close(self) -> None:
        """Release the plan."""
        self._runner.close()


class TensorRtTorchEngine:
    """A plan whose answers can stay on the GPU, as PyTorch's tensors at the addresses that TensorRT writes to.

    Two sets of buffers take turns, so that what one frame is learned from outlives the run of the next.

    Args:
        runner: of the plan, over PyTorch's memory.
        name: for people.
        device: PyTorch's name of it.
        precision: that the plan computes in.
    """

    def __init__(self, runner: PlanRunner, name: str, *, device: str, precision: Precision = "fp32") -> None:
        self._runner = runner
        self._odd = False
        self.name, self.precision = name, precision
        self.device = device

    @property
    def has_graph(self) -> bool:
        """Whether it replays CUDA graphs (see `PlanRunner`)."""
        return self._runner.has_graph

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """(B, 3, H, W) float32, and (B, L, C) float32 to steer -> outputs by name (see `Engine`)."""
        return self._runner.download(self._runner.run("host", images, shift), len(images))

    def run_on_device(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> Mapping[str, Tensor]:
        """The same, left on the device (see `DeviceEngine`)."""
        slot = self._runner.run("odd" if self._odd else "even", images, shift)
        self._odd = not self._odd
        return {name: buffer.tensor[: len(images)].float() for name, buffer in slot.outputs.items()}

    def close(self) -> None:
        """Release the plan."""
        self._runner.close()
