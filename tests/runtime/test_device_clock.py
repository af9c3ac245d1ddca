from __future__ import annotations

from typing import Any

import numpy as np
import torch

from moase_edge.runtime.device_clock import DeviceClock
from moase_edge.runtime.device_taps import DeviceTaps


class Cuda:
    """Events on a device whose clock moves on by what was enqueued."""

    def __init__(self) -> None:
        self.now_ms, self.made, self.waited = 0.0, 0, 0

    def Event(self, *, enable_timing: bool) -> Any:  # noqa: N802 - PyTorch's name
        assert enable_timing
        self.made += 1
        return Event(self)


class Event:
    def __init__(self, cuda: Cuda) -> None:
        self._cuda, self.at_ms = cuda, 0.0

    def record(self) -> None:
        self.at_ms = self._cuda.now_ms

    def synchronize(self) -> None:
        self._cuda.waited += 1

    def elapsed_time(self, end: Event) -> float:
        return end.at_ms - self.at_ms


class Engine:
    device = "cpu"

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda

    def run_on_device(self, images: Any, shift: Any = None) -> dict[str, torch.Tensor]:
        self._cuda.now_ms += 2.5
        return {"mid": torch.zeros(1), "logits": torch.ones(1, 2)}


def test_runs_add_up_until_they_are_asked_for_and_events_are_made_once() -> None:
    cuda = Cuda()
    taps = DeviceTaps(Engine(cuda), DeviceClock(cuda))  # type: ignore[arg-type]
    for _ in range(2):
        assert taps.run(np.zeros((1, 3, 4, 4), np.float32))["logits"].tolist() == [[1.0, 1.0]]
    assert taps.worked_ms() == 5.0
    assert taps.worked_ms() == 0.0
    assert (cuda.made, cuda.waited) == (2, 2)


def test_without_a_clock_nothing_is_told() -> None:
    taps = DeviceTaps(Engine(Cuda()))  # type: ignore[arg-type]
    taps.run(np.zeros((1, 3, 4, 4), np.float32))
    assert taps.worked_ms() is None
