"""The tracker of an engine that can be steered: what it expects, how it steers, and what it runs twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.adapt.tracker import Tracker, steered_block
from tests.adapt.trackers import (
    BLOCK,
    BLOCKS,
    KEY,
    NEW,
    PLAIN,
    SOURCE_KEY,
    C,
    Runs,
    correct,
    know,
    show,
    tracker_of,
    values_of,
)


def slots(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


def steering_tracker(**options: Any) -> Tracker:
    """One that knows a domain and has found that steering it pays."""
    tracker = tracker_of(**{**PLAIN, "recentre": False, "trials": 2, **options})
    for index in range(6):
        _, seen = correct(tracker, KEY, 0.3 * NEW[[index % C]])
        tracker.learn(seen, Runs(seen, 10))
    assert tracker.steers(slots(1)).tolist() == [True]
    return tracker


def test_the_domain_of_the_latest_frame_is_expected() -> None:
    tracker = tracker_of()
    assert tracker.expected(3).tolist() == [0, 0, 0]
    know(tracker, frames=3)
    assert tracker.expected(2).tolist() == [0, 0]  # recognised once it was known
    know(tracker, frames=1)
    assert tracker.expected(2).tolist() == [1, 1]
    correct(tracker, SOURCE_KEY, NEW[[0]])
    assert tracker.expected(1).tolist() == [0]


def test_a_stream_that_changes_with_each_frame_is_not_steered_until_it_rests() -> None:
    tracker = steering_tracker()
    for _ in range(20):
        correct(tracker, np.concatenate([SOURCE_KEY, KEY]), NEW[:2])
    assert tracker.snapshot().restlessness > 0.25
    assert tracker.expected(1).tolist() == [0]
    assert tracker.steers(slots(1)).tolist() == [False]
    for _ in range(60):
        correct(tracker, KEY, NEW[[0]])
    assert tracker.expected(1).tolist() == [1]
    assert tracker.steers(slots(1, 0)).tolist() == [True, False]


@given(st.lists(st.booleans(), max_size=80))
def test_restlessness_is_a_share(changes: list[bool]) -> None:
    tracker = tracker_of()
    know(tracker)
    for far in changes:
        correct(tracker, KEY if far else SOURCE_KEY, NEW[[0]])
    assert 0 <= tracker.snapshot().restlessness <= 1


def test_shift_takes_a_share_of_the_difference_back_at_one_block_of_the_rows_that_are_steered() -> None:
    tracker = tracker_of(strength=0.5, **PLAIN)
    know(tracker, level=3.0)
    shift = tracker.shift(slots(1, 0, 1), np.array([True, True, False]))
    assert shift is not None
    assert (shift.shape, shift.dtype) == ((3, *BLOCKS), np.float32)
    expected = np.zeros((3, *BLOCKS))
    expected[0, BLOCK] = -0.5 * 3
    assert shift == pytest.approx(expected)


def test_there_is_no_shift_where_nothing_moves() -> None:
    tracker = tracker_of(**PLAIN)
    know(tracker)
    assert tracker.shift(slots(1), np.array([False])) is None
    assert tracker.shift(slots(0), np.array([True])) is None
    assert tracker_of(steerable=False).shift(slots(0), np.array([True])) is None
    still = tracker_of(strength=0.0)
    know(still)
    assert still.shift(slots(1), np.array([True])) is None


@pytest.mark.parametrize("options", [{"steer": False}, {"steerable": False}])
def test_without_steering_no_frame_is_run_twice(options: dict[str, Any]) -> None:
    tracker = tracker_of(**options)
    for index in range(20):
        _, seen = correct(tracker, KEY, 3 + NEW[[index % C]])
        runs = Runs(seen)
        tracker.learn(seen, runs)
        assert runs.asked == []
    assert tracker.steers(slots(1)).tolist() == [False]


def test_frames_of_the_source_are_never_tried() -> None:
    tracker = tracker_of()
    _, seen = correct(tracker, np.zeros((C, C)), NEW)
    runs = Runs(seen)
    tracker.learn(seen, runs)
    assert seen.new.all()
    assert runs.asked == []


def test_a_frame_of_a_known_domain_is_tried_with_its_shift() -> None:
    tracker = tracker_of(strength=0.5, **PLAIN)
    know(tracker)
    _, seen = correct(tracker, KEY, 2 + NEW[[0]])
    runs = Runs(seen)
    tracker.learn(seen, runs)
    ((rows, shift),) = runs.asked
    assert rows == [0]
    assert shift is not None
    assert shift[0, BLOCK] == pytest.approx(np.full(C, -1.5))
    assert np.count_nonzero(shift) == C


def test_a_steered_frame_is_tried_without_a_shift() -> None:
    tracker = steering_tracker(try_every=1)
    show(tracker, KEY, 0.3 * NEW[[0]])
    _, seen = correct(tracker, KEY, NEW[[1]], steered=[True])
    runs = Runs(seen, 0.1)
    tracker.learn(seen, runs)
    assert runs.asked == [([0], None)]
    pair = tracker.snapshot().trials[1]
    assert pair.steered[-1] == pytest.approx(NEW[[1]])
    assert pair.plain[-1] == pytest.approx(0.1 * NEW[[1]])


def test_of_a_batch_no_more_than_four_rows_are_run_twice() -> None:
    tracker = tracker_of(trials=30, **PLAIN)
    know(tracker)
    contents = np.tile(NEW, (4, 1))
    _, seen = correct(tracker, np.repeat(KEY, 16, axis=0), 2 + contents)
    assert seen.new.sum() > 8
    runs = Runs(seen)
    tracker.learn(seen, runs)
    assert sum(len(rows) for rows, _ in runs.asked) == 4


def test_rows_run_both_ways_in_one_batch_are_tried_in_two_runs() -> None:
    tracker = tracker_of(trials=30, **PLAIN)
    know(tracker)
    _, seen = correct(tracker, np.repeat(KEY, 4, axis=0), 2 + NEW, steered=[True, False, True, False])
    runs = Runs(seen)
    tracker.learn(seen, runs)
    assert [rows for rows, _ in runs.asked] == [[1, 3], [0, 2]]
    assert runs.asked[0][1] is not None
    assert runs.asked[1][1] is None


def test_a_second_run_is_counted_to_the_domain_s_means_of_its_way() -> None:
    tracker = tracker_of(**PLAIN)
    know(tracker, frames=2)
    _, seen = correct(tracker, KEY, [[2.0, -2, 2, -2]])
    tracker.learn(seen, Runs(seen, 3))
    domain = tracker.snapshot().bank.domains[1]
    assert (domain.frames, domain.plain_frames, domain.steered_frames) == (3, 3, 1)
    assert domain.steered == pytest.approx(np.array([6.0, -6, 6, -6]))


def test_frames_that_wait_for_their_domain_are_not_tried_as_their_nearest_one() -> None:
    tracker = tracker_of(**PLAIN)
    know(tracker)
    before = tracker.snapshot()
    for index in range(2):
        _, seen = correct(tracker, 9 + 3 * KEY, NEW[[index]])
        runs = Runs(seen)
        tracker.learn(seen, runs)
        assert seen.found.slot.tolist() == [1]
        assert runs.asked == []
    assert values_of(tracker.snapshot().bank)[0] == values_of(before.bank)[0]
    assert tracker.snapshot().trials == before.trials


def test_rows_before_those_that_wait_are_tried() -> None:
    tracker = tracker_of(**PLAIN)
    know(tracker)
    keys = np.concatenate([KEY, 9 + 3 * KEY])
    _, seen = correct(tracker, keys, 2 + NEW[:2])
    assert seen.new.all()
    runs = Runs(seen)
    tracker.learn(seen, runs)
    assert [rows for rows, _ in runs.asked] == [[0]]


def test_a_frame_steered_for_another_domain_than_it_is_counted_to_is_not_tried() -> None:
    # There is room for one domain: the slot is another one's by the time the batch is learned from.
    tracker = tracker_of(most_domains=1, decide=1, **PLAIN)
    know(tracker)
    _, seen = correct(tracker, KEY, 2 + NEW[[0]], steered=[True])
    assert seen.steered_for.tolist() == [1]
    know(tracker, level=9.0, frames=60)  # domains that are found in a hurry are not corrected
    know(tracker, level=3.0, frames=1)
    assert [domain.number for domain in tracker.snapshot().bank.domains] == [0, 3]
    runs = Runs(seen)
    tracker.learn(seen, runs)
    assert runs.asked == []
    assert tracker.snapshot().bank.domains[1].steered_frames == 1  # from the trial of its own first frame


def test_an_odd_frame_that_was_dropped_is_not_tried_as_its_nearest_domain() -> None:
    tracker = tracker_of(**PLAIN)
    know(tracker)
    keys = np.concatenate([9 + 3 * KEY, KEY, KEY])
    _, seen = correct(tracker, keys, 2 + NEW[:3])
    runs = Runs(seen)
    tracker.learn(seen, runs)
    assert [rows for rows, _ in runs.asked] == [[1, 2]]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_second_run_that_is_not_finite_leaves_means_and_trials_alone(wrong: float) -> None:
    tracker = tracker_of(**PLAIN)
    know(tracker)
    before = tracker.snapshot()
    _, seen = correct(tracker, KEY, 2 + NEW[[0]])
    runs = Runs(seen, wrong)
    tracker.learn(seen, runs)
    assert len(runs.asked) == 1
    after = tracker.snapshot()
    assert after.bank.domains[1].steered_frames == before.bank.domains[1].steered_frames
    assert len(after.trials[1].plain) == len(before.trials[1].plain)


def test_of_several_domains_only_the_rows_that_a_shift_moves_are_tried() -> None:
    # Of the second domain, seen once, the difference in keys is no more than this much caution allows.
    tracker = tracker_of(decide=1, caution=8.0, trials=30)
    know(tracker, level=6.0, frames=12)
    _, seen = correct(tracker, np.concatenate([np.full((1, C), 6.0), np.full((1, C), -2.0)]), 2 + NEW[:2])
    runs = Runs(seen)
    tracker.learn(seen, runs)
    domains = tracker.snapshot().bank.domains
    assert len(domains) == 3
    assert domains[2].steered_frames == 0
    assert all(shift is not None and shift.any(axis=(1, 2)).all() for _, shift in runs.asked)


def test_steering_that_makes_answers_surer_is_kept_up_and_told() -> None:
    tracker = steering_tracker()
    assert show(tracker, KEY, 0.3 * NEW[[0]])["steered"] == 1
    assert tracker.shift(slots(1), tracker.steers(slots(1))) is not None


def test_where_domains_are_found_all_the_time_no_frame_is_steered() -> None:
    tracker = steering_tracker(decide=1)
    know(tracker, frames=40)
    for index, level in enumerate((20.0, 30.0, 40.0)):
        show(tracker, np.full((1, C), level), 2 + NEW[[index]])
    assert not tracker._bank.tells_domains
    assert tracker.snapshot().restlessness < 0.25, "that would leave out steering by itself"
    assert tracker.steers(slots(1)).tolist() == [False]
    know(tracker, frames=40)
    assert tracker.steers(slots(1)).tolist() == [True]


def test_steering_that_makes_answers_less_sure_is_not() -> None:
    tracker = tracker_of(recentre=False, trials=2, **PLAIN)
    for index in range(8):
        _, seen = correct(tracker, KEY, 3 * NEW[[index % C]])
        tracker.learn(seen, Runs(seen, 0.1))
    assert len(tracker.snapshot().trials[1].plain) == 2
    assert tracker.steers(slots(1)).tolist() == [False]


def test_trials_are_judged_by_the_features_that_would_be_answered() -> None:
    # Steered features are larger, and thus surer, by their mean alone: it is taken away before they are judged.
    def tried(*, recentre: bool) -> bool:
        tracker = tracker_of(recentre=recentre, trials=2, gain=0.2, **PLAIN)
        for index in range(8):
            _, seen = correct(tracker, KEY, 0.01 * NEW[[index % C]])
            tracker.learn(seen, lambda rows, shift, seen=seen: seen.pooled[rows] + 5)  # type: ignore[misc]
        return bool(tracker.steers(slots(1))[0])

    assert tried(recentre=False)
    assert not tried(recentre=True)


def test_trials_of_a_domain_that_made_room_are_forgotten() -> None:
    tracker = steering_tracker(most_domains=1)
    know(tracker, level=12.0)
    assert tracker.snapshot().trials.keys() == {2}
    assert tracker.steers(slots(1)).tolist() == [False]


@pytest.mark.parametrize(
    ("blocks", "depth", "adapt_blocks", "block"),
    [
        (12, 5 / 12, 1, 5),
        (12, 0, 1, 0),
        (12, 0.99, 1, 11),
        (12, 0.99, 4, 8),
        (12, 5 / 12, 12, 0),
        (2, 5 / 12, 1, 1),
    ],
)
def test_steered_block_lies_at_the_depth_and_inside_the_engine(
    blocks: int, depth: float, adapt_blocks: int, block: int
) -> None:
    assert steered_block(blocks, depth, adapt_blocks) == block


@given(blocks=st.integers(1, 48), depth=st.floats(0, 1, exclude_max=True), data=st.data())
def test_a_shift_always_reaches_the_taps(blocks: int, depth: float, data: st.DataObject) -> None:
    adapt_blocks = data.draw(st.integers(1, blocks))
    assert 0 <= steered_block(blocks, depth, adapt_blocks) <= blocks - adapt_blocks
