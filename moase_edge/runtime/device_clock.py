"""How long a GPU works, told by events of its own."""

from __future__ import annotations

from typing import Any


class DeviceClock:
    """Time between two points of PyTorch's current stream. Its two events are made once: new ones a frame leak.

    Args:
        cuda: `torch.cuda`, or what stands in for it.
    """

    def __init__(self, cuda: Any) -> None:
        self._begin, self._end = (cuda.Event(enable_timing=True) for _ in range(2))

    def begin(self) -> None:
        """Mark where the work begins; nothing is waited for."""
        self._begin.record()

    def end(self) -> None:
        """Mark where it ends."""
        self._end.record()

    def elapsed_ms(self) -> float:
        """Milliseconds between the marks; waits until the GPU has come to the second one."""
        self._end.synchronize()
        return float(self._begin.elapsed_time(self._end))
