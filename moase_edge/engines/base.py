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

    def run(self, images: NDArray[np.float32]) -> Tensors:
        """Run one batch.

        Args:
            images: (B, 3, H, W) float32, preprocessed, C-contiguous, in host memory.

        Returns:
            Every output by name, in host memory, owned by the caller.

        Raises:
            EngineError: the batch does not fit, or the executor failed.
        """
        ...

    def close(self) -> None:
        """Release what the engine holds; it cannot run afterwards."""
        ...
