"""An engine that remembers must be the engine itself to whoever uses it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.bench import recorded_engine
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


class Clock:
    """Nanoseconds of which 2 ms pass in each real run; reading it takes none."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class TimedEngine(CountingEngine):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        self._clock.now += 2_000_000
        return super().run(images, shift)


def test_every_run_counts_as_the_engine_s_at_what_it_took_where_it_was_real(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorded_engine, "perf_counter_ns", clock := Clock())
    engine = RecordedEngine(TimedEngine(clock))
    engine.run(images(0.0))
    engine.restart_clocks()
    engine.run(images(0.0))  # replayed
    engine.run(images(0.0), np.ones((2, 3, 4), np.float32))  # a second run, real
    # Over 4 frames 2 + 2 ms. Of 0.25 + 3 ms in both stages the runs took 2 / 4 here.
    stages = engine.as_if_real({"engine": 0.25, "sidecar": 1.0, "update": 3.0, "total": 9.0}, frames=4)
    assert stages == {"engine": 1.0, "sidecar": 1.0, "update": 2.75, "total": 9.0}
    engine.restart_clocks()
    assert engine.as_if_real({"engine": 0.0}, frames=4) == {"engine": 0.0}


def test_steered_runs_are_forgotten_where_they_do_not_repeat() -> None:
    inner = CountingEngine()
    engine = RecordedEngine(inner, keep_steered=False)
    for value in range(5):
        engine.run(images(0.0), np.full((2, 3, 4), value, np.float32))
    assert len(engine._recorded) == 0
    for _ in range(2):
        engine.run(images(0.0))
    assert inner.runs == 6
    assert len(engine._recorded) == 1


def test_closing_releases_the_engine() -> None:
    inner = CountingEngine()
    RecordedEngine(inner).close()
    assert inner.closed
