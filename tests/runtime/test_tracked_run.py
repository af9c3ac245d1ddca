"""One batch through an engine that is steered for the domain of the frame before."""

from __future__ import annotations

from typing import cast

import numpy as np

from moase_edge.adapt.tracker import Tracker
from moase_edge.runtime.tracked_run import TrackedRun, run_tracked
from tests.runtime.steered import BLOCKS, CHANNELS, Images, KnownTracker, SteerableEngine, images


def tracked(engine: SteerableEngine, tracker: KnownTracker, *domains: int) -> TrackedRun:
    return run_tracked(engine, cast(Tracker, tracker), images(*domains))


def test_frames_of_the_domain_before_are_run_once_and_steered_for_it() -> None:
    engine, tracker = SteerableEngine(), KnownTracker(latest=1)
    run = tracked(engine, tracker, 1, 1)
    assert engine.runs == [([1.0, 1.0], [10.0, 10.0])]
    assert run.steered.tolist() == [True, True]
    assert run.outputs["logits"].tolist() == [[1.0, 11.0], [1.0, 11.0]]
    assert run.found is not None
    assert run.found.slot.tolist() == [1, 1]
    assert run.keys is not None
    assert run.keys.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_rows_that_show_another_domain_are_run_again_each_for_its_own() -> None:
    engine = SteerableEngine()
    run = tracked(engine, KnownTracker(latest=1), 1, 2, 0, 1)
    # Steered as expected first; then domain 2 by its own shift, and the source by none.
    assert engine.runs == [([1.0, 2.0, 0.0, 1.0], [10.0] * 4), ([2.0, 0.0], [20.0, 0.0])]
    assert run.outputs["logits"].tolist() == [[1.0, 11.0], [2.0, 22.0], [0.0, 0.0], [1.0, 11.0]]
    assert run.steered.tolist() == [True, True, False, True]


def test_rows_of_the_source_alone_are_run_again_as_the_frozen_model_is() -> None:
    engine = SteerableEngine()
    run = tracked(engine, KnownTracker(latest=2), 2, 0)
    assert engine.runs[1] == ([0.0], None)
    assert run.steered.tolist() == [True, False]


def test_a_new_domain_is_steered_although_the_source_was_expected() -> None:
    engine = SteerableEngine()
    run = tracked(engine, KnownTracker(latest=0), 0, 1)
    assert engine.runs == [([0.0, 1.0], None), ([1.0], [10.0])]
    assert run.steered.tolist() == [False, True]


def test_another_domain_costs_no_second_run_where_neither_is_steered() -> None:
    engine = SteerableEngine()
    run = tracked(engine, KnownTracker(latest=0, steered=frozenset()), 0, 1, 2)
    assert engine.runs == [([0.0, 1.0, 2.0], None)]
    assert run.found is not None
    assert run.found.slot.tolist() == [0, 1, 2]
    assert not run.steered.any()


def test_a_restless_tracker_steers_nothing_and_runs_each_batch_once() -> None:
    engine = SteerableEngine()
    run = tracked(engine, KnownTracker(latest=1, restless=True), 1, 2, 0, 2)
    assert engine.runs == [([1.0, 2.0, 0.0, 2.0], None)]
    assert not run.steered.any()
    assert np.array_equal(run.frozen_logits, run.outputs["logits"])


def test_the_frozen_answer_is_known_of_rows_that_were_not_steered_alone() -> None:
    run = tracked(SteerableEngine(), KnownTracker(latest=1), 1, 0)
    assert np.isnan(run.frozen_logits[0]).all()
    assert run.frozen_logits[1].tolist() == [0.0, 0.0]
    assert run.outputs["logits"][0].tolist() == [1.0, 11.0]  # what was answered stays


def test_the_second_run_changes_no_array_that_the_engine_gave_before() -> None:
    engine, given = SteerableEngine(), []
    plain = engine.run

    def remember(batch: Images, shift: Images | None = None) -> dict[str, Images]:
        outputs = plain(batch, shift)
        given.append(outputs)
        return outputs

    engine.run = remember  # type: ignore[method-assign]
    tracked(engine, KnownTracker(latest=1), 1, 2)
    assert given[0]["logits"].tolist() == [[1.0, 11.0], [2.0, 12.0]]


def test_an_engine_without_token_means_is_run_once_and_recognised_later() -> None:
    engine, tracker = SteerableEngine(token_means=False), KnownTracker(latest=0, block=None)
    run = tracked(engine, tracker, 1, 2)
    assert len(engine.runs) == 1
    assert (run.keys, run.found) == (None, None)
    assert tracker.recognised == []


def test_a_domain_that_cannot_be_moved_back_yet_counts_as_not_steered() -> None:
    """A tracker may want to steer and have no offset: the rows of its shift are zeros."""
    tracker = KnownTracker(latest=0)
    tracker.shift = lambda slots, rows: np.zeros((len(slots), BLOCKS, CHANNELS), np.float32)  # type: ignore[method-assign]
    run = tracked(SteerableEngine(), tracker, 1)
    assert run.steered.tolist() == [False]
    assert not np.isnan(run.frozen_logits).any()
