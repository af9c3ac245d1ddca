"""An engine whose taps stay on its device, while the host gets what it decides by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.engines.base import DeviceEngine
from moase_edge.runtime.device_clock import DeviceClock

TAPS = ("mid", "out")


class DeviceTaps:
    """Runs a batch on the device; taps are left there, all else is copied to the host.

    Args:
        engine: runs it.
        clock: times what the device works; None on a device that is the CPU.
    """

    def __init__(self, engine: DeviceEngine, clock: DeviceClock | None = None) -> None:
        self._engine, self._clock = engine, clock
        self._worked_ms = 0.0

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> dict[str, Any]:
        """Outputs by name: taps as tensors in the engine's memory, others as arrays that the caller owns."""
        if self._clock is not None:
            self._clock.begin()
        outputs = self._engine.run_on_device(images, shift)
        if self._clock is not None:
            self._clock.end()
        given = {name: value if name in TAPS else value.cpu().numpy().copy() for name, value in outputs.items()}
        if self._clock is not None:  # after the copies, which wait for the device in any case
            self._worked_ms += self._clock.elapsed_ms()
        return given

    def worked_ms(self) -> float | None:
        """Milliseconds that the device worked since this was asked last; None without a clock."""
        worked, self._worked_ms = self._worked_ms, 0.0
        return None if self._clock is None else worked
