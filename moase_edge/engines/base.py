"""The seam that every executor stands behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
