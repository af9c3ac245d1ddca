"""Timing of the stages that a batch passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns


class Stages:
    """Durations of one batch's stages, in milliseconds, in the order they ran.

    A stage that is entered twice adds up.
    """

    def __init__(self) -> None:
        self.durations_ms: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's wall time to `stage`, also when it raises."""
        begin = perf_counter_ns()
        try:
            yield
        finally:
            self.add(stage, (perf_counter_ns() - begin) / 1e6)

    def add(self, stage: str, ms: float) -> None:
        """Add `ms` milliseconds to `stage`."""
        self.durations_ms[stage] = self.durations_ms.get(stage, 0.0) + ms
