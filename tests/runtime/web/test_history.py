"""What the watching thread keeps."""

from __future__ import annotations

import pytest

from moase_edge.runtime.web.history import BOUNDS_MS, KEPT, Durations, History
from moase_edge.runtime.web.live import Moment


def moment(frame: int, *, adapted: bool = True, update: dict[str, float] | None = None) -> Moment:
    timings = {"engine": 4.0, "unheard of": 1.0}
    return Moment(frame, 100.0 + frame, 1.0, 0, "car", 0.5, 0.1, 0, adapted, timings, update)


def test_durations_are_counted_up_to_each_bound() -> None:
    durations = Durations()
    for ms in (0.5, 1.0, 1.5, 7000.0):
        durations.add(ms)
    assert durations.cumulative() == [2, 3, *[3] * (len(BOUNDS_MS) - 2), 4]
    assert durations.sum_ms == pytest.approx(7003.0)


def test_memory_does_not_grow_with_the_run() -> None:
    history = History()
    for frame in range(KEPT + 5):
        history.add(moment(frame))
    assert history.batches == KEPT + 5
    kept = history.since(0)
    assert [number for number, _ in kept] == list(range(6, KEPT + 6))
    assert history.durations["engine"].cumulative()[-1] == KEPT + 5


def test_only_what_is_newer_is_told_in_order_and_at_most_so_much() -> None:
    history = History()
    for frame in range(5):
        history.add(moment(frame))
    assert [number for number, _ in history.since(3)] == [4, 5]
    assert [number for number, _ in history.since(0, most=2)] == [4, 5]
    assert history.since(5) == []


def test_frozen_since_is_the_first_of_the_latest_frozen_answers() -> None:
    history = History()
    for frame, adapted in enumerate([False, True, False, False]):
        history.add(moment(frame, adapted=adapted))
    assert history.frozen_since_s == 102.0
    history.add(moment(4))
    assert history.frozen_since_s is None


def test_drift_is_that_of_the_latest_update() -> None:
    history = History()
    assert history.drift == {}
    history.add(moment(0, update={"feature_shift": 2.0, "domain": 1.0, "loss": 3.0}))
    history.add(moment(1))
    assert history.drift == {"feature_shift": 2.0, "domain": 1.0}
