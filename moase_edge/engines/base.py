"""The seam that every executor stands behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.manifest import Precision

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, NDArray[np.float32]]


class Engine(Protocol):
    """A frozen backbone that can be run.

    Attributes:
        name: what runs it and where, for people: "ONNX Runtime 1.32 (CPU, 2 threads)".
    """

    name: str

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        """Run one batch.

        Args:
            images: (B, 3, H, W) float32, preprocessed, C-contiguous, in host memory.
            shift: (B, L, C) float32, added to the patch tokens that enter each of the L blocks; None for zeros.

        Returns:
            Every output by name, in host memory, owned by the caller.

        Raises:
            EngineError: the batch or the shift does not fit, the engine takes no shift, or the executor failed.
        """
        ...

    def close(self) -> None:
        """Release what the engine holds; it cannot run afterwards."""
        ...


@runtime_checkable
class DeviceEngine(Protocol):
    """An engine whose outputs can stay on its device, for a sidecar that lives there too.

    Attributes:
        device: PyTorch's name of it: "cuda:0".
    """

    device: str

    def run_on_device(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> Mapping[str, Tensor]:
        """Run one batch on PyTorch's current stream, and do not wait for it.

        Args:
            images, shift: as of `Engine.run`, in host memory; they may be written to once this returns.

        Returns:
            Every output by name, float32, on `device`, in the engine's own memory: overwritten by the second
            next call of this method, and by no call of `run`.

        Raises:
            EngineError: as of `Engine.run`.
        """
        ...


def precision_of(engine: Engine) -> Precision:
    """The precision an engine computes in, as its `precision` says; fp32 of one that does not say."""
    precision: Precision = getattr(engine, "precision", "fp32")
    return precision


def device_of(engine: Engine) -> str:
    """Where a sidecar beside this engine should live: the engine's device, or the CPU."""
    return engine.device if isinstance(engine, DeviceEngine) else "cpu"
