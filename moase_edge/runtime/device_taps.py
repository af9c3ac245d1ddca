"""An engine whose taps stay on its device, while the host gets what it decides by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.engines.base import DeviceEngine

TAPS = ("mid", "out")


class DeviceTaps:
    """Runs a batch on the device; taps are left there, all else is copied to the host.

    Args:
        engine: runs it.
    """

    def __init__(self, engine: DeviceEngine) -> None:
        self._engine = engine

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> dict[str, Any]:
        """Outputs by name: taps as tensors in the engine's memory, others as arrays that the caller owns."""
        outputs = self._engine.run_on_device(images, shift)
        return {name: value if name in TAPS else value.cpu().numpy().copy() for name, value in outputs.items()}
