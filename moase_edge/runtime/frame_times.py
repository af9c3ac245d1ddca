"""What every frame of a measurement took, in memory that is taken beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moase_edge.runtime.record import STAGES
from moase_edge.runtime.stages import Stages


class FrameTimes:
    """A row a frame, a column each of `STAGES`. It does not grow, or memory could not be measured beside it.

    Args:
        capacity: most frames.

    Attributes:
        count: frames so far.
        mode: (capacity,) int8, number of who answered.
        index: (capacity,) int64, of the frame in its source.
        warm_up: (capacity,) bool, whether it came before the clock counts.
        host_ms, device_ms: (capacity, S) float64, NaN where a stage did not run, or not on a GPU.
        begin_ns, end_ns: (capacity, S) int64 of `perf_counter_ns`; of a stage that ran twice its first begin
            and last end; -1 where no clock timed it.
    """

    def __init__(self, capacity: int) -> None:
        shape = (capacity, len(STAGES))
        # `full` and `ones` write to every page, which `zeros` leaves for later.
        self.count = 0
        self.mode = np.ones(capacity, dtype=np.int8)
        self.index = np.ones(capacity, dtype=np.int64)
        self.warm_up = np.ones(capacity, dtype=np.bool_)
        self.host_ms, self.device_ms = np.full(shape, np.nan), np.full(shape, np.nan)
        self.begin_ns, self.end_ns = np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64)

    def add(self, mode: int, index: int, stages: Stages, *, warm_up: bool = False) -> None:
        """Remember one frame."""
        row = self.count
        self.mode[row], self.index[row], self.warm_up[row] = mode, index, warm_up
        for times, kept in ((stages.durations_ms, self.host_ms), (stages.device_ms, self.device_ms)):
            for stage, ms in times.items():
                kept[row, STAGES.index(stage)] = ms
        for stage, begin_ns, end_ns in stages.spans:
            column = STAGES.index(stage)
            if self.begin_ns[row, column] < 0:
                self.begin_ns[row, column] = begin_ns
            self.end_ns[row, column] = end_ns
        self.count += 1

    def counted(self, mode: int) -> NDArray[np.int64]:
        """Rows of a mode after the warm-up; none is taken out, however long it took."""
        so_far = slice(0, self.count)
        return np.flatnonzero((self.mode[so_far] == mode) & ~self.warm_up[so_far])

    def host(self, rows: NDArray[np.int64], stage: str) -> NDArray[np.float64]:
        """Milliseconds of a stage on the host, of those rows in which it ran."""
        return _there(self.host_ms[rows, STAGES.index(stage)])

    def device(self, rows: NDArray[np.int64], stage: str) -> NDArray[np.float64]:
        """Milliseconds of a stage on the GPU, of those rows that told of it."""
        return _there(self.device_ms[rows, STAGES.index(stage)])

    def busy(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) milliseconds that each frame kept the loop from the next: `total` less `capture` and `decode`."""
        stages = ("total", "capture", "decode")
        total, capture, decode = (self.host_ms[rows, STAGES.index(stage)] for stage in stages)
        busy: NDArray[np.float64] = np.maximum(total - np.nan_to_num(capture) - np.nan_to_num(decode), 0.0)
        return busy


def _there(values: NDArray[np.float64]) -> NDArray[np.float64]:
    there: NDArray[np.float64] = values[~np.isnan(values)]
    return there
