"""Timing of the stages that a batch passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns


class Stages:
    """Durations of one batch's stages, in milliseconds, in the order they ran.

    A stage that is entered twice adds up.

    Attributes:
        durations_ms: wall time on the host, by stage.
        device_ms: time on the GPU, by stage, where something ran there and told of it.
        spans: stage, begin and end of each time one was entered, nanoseconds of `perf_counter_ns`.
    """

    def __init__(self) -> None:
        self.durations_ms: dict[str, float] = {}
        self.device_ms: dict[str, float] = {}
        self.spans: list[tuple[str, int, int]] = []

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's wall time to `stage`, also when it raises."""
        begin = perf_counter_ns()
        try:
            yield
        finally:
            self.ran(stage, begin, perf_counter_ns())

    def ran(self, stage: str, begin_ns: int, end_ns: int) -> None:
        """Add the time between two readings of `perf_counter_ns` to `stage`."""
        self.spans.append((stage, begin_ns, end_ns))
        self.add(stage, (end_ns - begin_ns) / 1e6)

    def add(self, stage: str, ms: float) -> None:
        """Add `ms` milliseconds to `stage`."""
        self.durations_ms[stage] = self.durations_ms.get(stage, 0.0) + ms

    def add_device(self, stage: str, ms: float) -> None:
        """Add `ms` milliseconds that a GPU worked for `stage`."""
        self.device_ms[stage] = self.device_ms.get(stage, 0.0) + ms
