"""An engine that remembers must be the engine itself to whoever uses it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from moase_edge.bench.recorded_engine import RecordedEngine
from moase_edge.engines.base import Tensors


class CountingEngine:
    name = "counting"

    def __init__(self) -> None:
        self.runs = 0
        self.closed = False

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        self.runs += 1
        moved = 0 if shift is None else shift.sum()
        return {"logits": images.mean(axis=(2, 3)) + self.runs + moved}

    def close(self) -> None:
        self.closed = True


def images(value: float, count: int = 2) -> NDArray[np.float32]:
    return np.full((count, 3, 4, 4), value, dtype=np.float32)


def test_a_batch_is_run_once_and_gives_the_same_outputs_again() -> None:
    inner = CountingEngine()
    engine = RecordedEngine(inner)
    first = engine.run(images(0.0))["logits"]
    assert np.array_equal(first, engine.run(images(0.0))["logits"])
    assert inner.runs == 1
    assert not np.array_equal(first, engine.run(images(1.0))["logits"])
    assert inner.runs == 2


def test_a_batch_is_run_again_for_each_shift_and_remembered_with_it() -> None:
    inner = CountingEngine()
    engine = RecordedEngine(inner)
    shifts = [None, np.zeros((2, 3, 4), np.float32), np.ones((2, 3, 4), np.float32)]
    first = [engine.run(images(0.0), shift)["logits"] for shift in shifts]
    assert inner.runs == 3
    again = [engine.run(images(0.0), shift)["logits"] for shift in reversed(shifts)][::-1]
    assert inner.runs == 3
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert first[2][0, 0] - first[1][0, 0] == 25, "a run more, and 24 ones of the shift"


def test_outputs_are_copies_so_that_no_method_disturbs_another() -> None:
    engine = RecordedEngine(CountingEngine())
    engine.run(images(0.0))["logits"][:] = np.nan
    assert np.isfinite(engine.run(images(0.0))["logits"]).all()


def test_time_counts_real_runs_alone() -> None:
    engine = RecordedEngine(CountingEngine())
    assert math.isnan(engine.ms_per_frame)
    engine.run(images(0.0))
    spent = engine.ms_per_frame
    engine.run(images(0.0))
    assert engine.ms_per_frame == spent > 0


def test_closing_releases_the_engine() -> None:
    inner = CountingEngine()
    RecordedEngine(inner).close()
    assert inner.closed
