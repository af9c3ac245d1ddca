"""Buttons for a run that goes on: done between frames, from any thread."""

from __future__ import annotations

from concurrent.futures import CancelledError
from pathlib import Path
from threading import Thread

import pytest

from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.runtime.controls import Controls
from moase_edge.runtime.snapshots import Position
from tests.runtime.fakes import LevelMethod, ListSource, frames, pipeline_of
from tests.runtime.stateful import CountingMethod, snapshots_in


def test_hold_stops_learning_and_resume_goes_on(tmp_path: Path) -> None:
    method = CountingMethod()
    pipeline = pipeline_of(method)
    learned, asked = [], []
    for result in pipeline.run(ListSource(frames(8))):
        learned.append(method.learned)
        if result.frame.index == 2:
            asked.append(pipeline.controls.hold())
        if result.frame.index == 5:
            assert method.held
            asked.append(pipeline.controls.resume())
    # What is asked for at a frame is done once that frame was learned from.
    assert learned == [0, 1, 2, 3, 3, 3, 3, 4]
    assert [done.result(0).split(":")[0] for done in asked] == ["holding", "learning again"]
    assert not method.held


def test_reset_forgets_between_two_frames() -> None:
    method = CountingMethod()
    pipeline = pipeline_of(method)
    for result in pipeline.run(ListSource(frames(4))):
        if result.frame.index == 1:
            done = pipeline.controls.reset()
    assert method.learned == 2
    assert done.result(0) == "back to the artifact's own state"


def test_snapshot_and_rollback_name_what_they_did(tmp_path: Path) -> None:
    method = CountingMethod()
    pipeline = pipeline_of(method)
    pipeline.controls.snapshots = snapshots_in(tmp_path, method)
    told = []
    for result in pipeline.run(ListSource(frames(6))):
        if result.frame.index == 1:
            told.append(pipeline.controls.snapshot())
        if result.frame.index == 3:
            told += [pipeline.controls.snapshot(), pipeline.controls.rollback()]
    assert [done.result(5) for done in told] == [
        "wrote snapshot-000001.safetensors",
        "wrote snapshot-000002.safetensors",
        "back to snapshot-000002.safetensors",
    ]
    assert method.learned == 6


def test_what_cannot_be_done_is_raised_to_who_asked_and_the_run_goes_on() -> None:
    pipeline = pipeline_of(LevelMethod())
    asked = [pipeline.controls.hold(), pipeline.controls.snapshot(), pipeline.controls.rollback("9")]
    assert len(list(pipeline.run(ListSource(frames(3))))) == 3
    for done, kind in zip(asked, (AdaptationError, ConfigError, ConfigError), strict=True):
        assert isinstance(done.exception(0), kind)


def test_what_still_waits_when_the_run_ends_is_cancelled() -> None:
    controls = Controls(CountingMethod())
    done, gone = controls.reset(), controls.hold()
    gone.cancel()
    controls.end()
    with pytest.raises(CancelledError):
        done.result(0)
    controls.between(Position())
    assert not controls.held


def test_requests_of_many_threads_are_all_done_once(tmp_path: Path) -> None:
    method = CountingMethod()
    controls = Controls(method)
    controls.snapshots = snapshots_in(tmp_path, method, keep=100)
    asked = []
    threads = [Thread(target=lambda: asked.append(controls.snapshot())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    controls.between(Position())
    assert len({done.result(5) for done in asked}) == 8
