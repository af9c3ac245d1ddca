from __future__ import annotations

from collections.abc import Iterator

import pytest

from moase_edge.runtime import stages as stages_module
from moase_edge.runtime.stages import Stages


@pytest.fixture
def clock_ns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by 2 ms each time it is read."""
    ticks: Iterator[int] = iter(range(0, 10**9, 2_000_000))
    monkeypatch.setattr(stages_module, "perf_counter_ns", lambda: next(ticks))


@pytest.mark.usefixtures("clock_ns")
def test_a_block_is_timed_in_milliseconds() -> None:
    stages = Stages()
    with stages.timed("engine"):
        assert stages.durations_ms == {}
    assert stages.durations_ms == {"engine": 2.0}


@pytest.mark.usefixtures("clock_ns")
def test_a_stage_that_is_entered_twice_adds_up_and_keeps_its_place() -> None:
    stages = Stages()
    for stage in ("engine", "emit", "engine"):
        with stages.timed(stage):
            assert stage in ("engine", "emit")
    assert list(stages.durations_ms.items()) == [("engine", 4.0), ("emit", 2.0)]


@pytest.mark.usefixtures("clock_ns")
def test_a_block_that_raises_is_timed_too() -> None:
    stages = Stages()
    with pytest.raises(KeyError), stages.timed("sidecar"):
        raise KeyError("x")
    assert stages.durations_ms == {"sidecar": 2.0}


def test_durations_can_be_added_by_hand() -> None:
    stages = Stages()
    stages.add("age", 1.5)
    stages.add("age", 0.25)
    assert stages.durations_ms == {"age": 1.75}
