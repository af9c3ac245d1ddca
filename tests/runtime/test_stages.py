from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from moase_edge.frames.frame import Frame
from moase_edge.frames.open import open_source
from moase_edge.runtime import stages as stages_module
from moase_edge.runtime.batches import take
from moase_edge.runtime.stages import Stages
from tests.cli.commands import write_pictures


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


def test_decoding_is_taken_out_of_the_wait_for_a_frame() -> None:
    def slow() -> Iterator[Frame]:
        sleep(0.02)
        yield Frame(np.zeros((1, 1, 3), np.uint8), 0, 0, decode_ms=5.0)
        yield Frame(np.zeros((1, 1, 3), np.uint8), 1, 0, decode_ms=1e6)

    frames, first, second = slow(), Stages(), Stages()
    take(frames, 1, first)
    assert first.durations_ms["decode"] == 5.0
    assert first.durations_ms["capture"] >= 15.0
    take(frames, 1, second)  # decoded before it was asked for
    assert second.durations_ms["capture"] == 0.0


def test_a_picture_tells_how_long_it_took_to_decode(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    with open_source(str(tmp_path)) as source:
        assert next(source.frames()).decode_ms > 0
