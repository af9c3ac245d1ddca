"""The tracker: what it corrects, what it leaves alone, and what it remembers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.adapt.tracker import Tracker
from tests.adapt.trackers import (
    KEY,
    NEW,
    PLAIN,
    SOURCE_KEY,
    C,
    Runs,
    assert_same,
    correct,
    flat,
    know,
    same_again,
    show,
    tracker_of,
)


def test_frames_of_the_source_are_answered_as_they_are_bit_for_bit() -> None:
    tracker = tracker_of()
    features = np.random.default_rng(0).normal(size=(1, C)).astype(np.float32)
    corrected, seen = correct(tracker, SOURCE_KEY, features)
    assert corrected.astype(np.float32).tobytes() == features.tobytes()
    assert seen.new.tolist() == [True]


def test_features_of_a_known_domain_are_moved_back_by_its_offset() -> None:
    tracker = tracker_of(**PLAIN)
    know(tracker, offset=2.0)
    corrected, seen = correct(tracker, KEY, [[3.0, 1.0, 2.0, 0.0]])
    assert seen.found.slot.tolist() == [1]
    assert corrected == pytest.approx(np.array([[1.0, -1.0, 0.0, -2.0]]))


def test_a_frame_is_moved_by_the_share_of_the_deviation_that_it_has_itself() -> None:
    tracker = tracker_of(steerable=False, **PLAIN)
    for _ in range(4):
        show(tracker, [[2.0, 0, 0, 0]], [[2.0, 0, 0, 0]])
    frames = np.array([[1.0, 5.0, 0, 0], [0.0, 5, 0, 0], [-1.0, 5, 0, 0], [4.0, 5, 0, 0]])
    corrected, _ = correct(tracker, frames, frames)
    assert corrected[:, 0] == pytest.approx([0, 0, -1, 2])
    # A source-like frame is not moved at all.
    assert corrected[1:3].tolist() == frames[1:3].tolist()


def test_a_source_frame_among_known_domains_is_not_moved() -> None:
    tracker = tracker_of(**PLAIN)
    know(tracker)
    corrected, seen = correct(tracker, np.concatenate([SOURCE_KEY, KEY]), [[1.0, 2, 3, 4], [1, 2, 3, 4]])
    assert seen.found.slot.tolist() == [0, 1]
    assert corrected[0].tolist() == [1, 2, 3, 4]
    assert corrected[1] == pytest.approx([-1, 0, 1, 2])


def test_without_recentring_nothing_is_moved_and_no_shift_is_told() -> None:
    tracker = tracker_of(recentre=False, **PLAIN)
    know(tracker)
    corrected, seen = correct(tracker, KEY, [[3.0, 1, 2, 0]])
    assert corrected.tolist() == [[3, 1, 2, 0]]
    assert tracker.learn(seen, same_again(seen))["feature_shift"] == 0


def test_offset_of_a_frame_is_that_of_its_own_way_of_running() -> None:
    tracker = tracker_of(steer=False, **PLAIN)
    know(tracker, offset=2.0)
    show(tracker, KEY, 3 + NEW[[0]], steered=[True])
    for steered, offset in ((False, 2.0), (True, 3 + NEW[0])):
        corrected, _ = correct(tracker, KEY, [[1.0, 1, 1, 1]], steered=[steered])
        assert corrected == pytest.approx(1.0 - np.broadcast_to(offset, (1, C)))


def test_frames_of_one_content_are_answered_by_their_mean() -> None:
    tracker = tracker_of()
    frames = np.array([[4.0, 0, 0, 0], [4, 2, 0, 0], [0, 0, 0, 5]])
    corrected, seen = correct(tracker, np.zeros((3, C)), frames)
    assert corrected.tolist() == [[4, 0, 0, 0], [4, 1, 0, 0], [0, 0, 0, 5]]
    assert seen.new.tolist() == [True, False, True]


def test_without_memory_each_frame_is_answered_on_its_own() -> None:
    tracker = tracker_of(remember=False)
    frames = np.array([[4.0, 0, 0, 0], [4, 2, 0, 0]])
    corrected, seen = correct(tracker, np.zeros((2, C)), frames)
    assert corrected.tolist() == frames.tolist()
    assert seen.new.tolist() == [True, False]


def test_content_is_compared_after_the_correction() -> None:
    # Both frames lie far off the source in the same direction: only what is left of them differs.
    for recentre in (True, False):
        tracker = tracker_of(caution=0.0, recentre=recentre)
        know(tracker, offset=2.0)
        _, seen = correct(tracker, np.repeat(KEY, 2, axis=0), 2 + 0.2 * NEW[1:3])
        assert seen.new.tolist() == [True, recentre]


@pytest.mark.parametrize("part", ["keys", "features"])
@pytest.mark.parametrize("wrong", [[np.nan] * C, [np.inf, -np.inf, 0, 0], [np.inf] * C])
def test_a_row_that_is_not_finite_leaves_every_mean_alone(wrong: list[float], part: str) -> None:
    tracker, other = tracker_of(decide=1), tracker_of(decide=1)
    know(tracker)
    know(other)
    keys, features = np.repeat(KEY, 3, axis=0), 2 + NEW[:3]
    (keys if part == "keys" else features)[1] = wrong
    rows = [0, 2]
    corrected, seen = correct(tracker, keys, features)
    expected, without = correct(other, keys[rows], features[rows])
    assert corrected[rows].tobytes() == expected.tobytes()
    assert corrected[1].astype(np.float32).tobytes() == features[1].astype(np.float32).tobytes()
    assert seen.new.tolist() == [without.new[0], False, without.new[1]]
    tracker.learn(seen, same_again(seen))
    other.learn(without, same_again(without))
    assert_same(tracker.snapshot(), other.snapshot())


def test_large_finite_features_count_as_finite() -> None:
    large = np.full((1, C), 2e38)
    corrected, seen = correct(tracker_of(), SOURCE_KEY, large)
    assert seen.new.tolist() == [True]
    assert np.isfinite(corrected).all()


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, C - 1)), min_size=1, max_size=40))
def test_correction_of_finite_frames_is_finite_and_leads_no_further_than_the_source(
    frames: list[tuple[int, int]],
) -> None:
    tracker = tracker_of(remember=False)
    for level, content in frames:
        features = level + NEW[[content]]
        corrected, seen = correct(tracker, np.full((1, C), 3.0 * level), features)
        offset = features - corrected
        # No feature lies further off the source than level and content together, and so no mean does.
        assert (np.abs(offset) <= 8).all()
        tracker.learn(seen, same_again(seen))


def test_only_new_content_is_counted() -> None:
    tracker = tracker_of(steerable=False)
    frames = np.array([[4.0, 0, 0, 0], [4, 1, 0, 0], [4, 0, 1, 0], [0, 0, 0, 4]])
    show(tracker, frames, frames)
    domain = tracker.snapshot().bank.domains[1]
    assert domain.frames == 2
    assert domain.plain == pytest.approx(np.array([2.0, 0, 0, 2]))


def test_a_batch_without_new_content_teaches_nothing() -> None:
    tracker = tracker_of()
    show(tracker, KEY, NEW[[0]])
    _, seen = correct(tracker, KEY, NEW[[0]])
    before = tracker.snapshot()
    tracker.learn(seen, same_again(seen))
    assert_same(tracker.snapshot(), before)


def test_figures_tell_the_domain_and_how_far_it_lies_off() -> None:
    tracker = tracker_of(**PLAIN)
    assert show(tracker, SOURCE_KEY, NEW[[3]]) == {"domain": 0, "feature_shift": 0, "steered": 0}
    know(tracker, offset=2.0)
    figures = show(tracker, KEY, 2 + NEW[[0]])
    assert (figures["domain"], figures["steered"]) == (1, 0)
    assert figures["feature_shift"] == pytest.approx(np.linalg.norm(2 + NEW[0] / 5))
    assert tracker.counts() == {"domains_found": 1, "domain_switches": 1}


def test_weights_are_worth_learning_while_the_domain_is_unknown_or_new() -> None:
    tracker = tracker_of()
    assert not tracker.shifting
    show(tracker, KEY, NEW[[0]])
    assert tracker.shifting  # one frame waits
    know(tracker, frames=30)
    assert tracker.shifting
    know(tracker, frames=2)
    assert not tracker.shifting
    show(tracker, SOURCE_KEY, NEW[[0]])
    assert not tracker.shifting


def run(tracker: Tracker, seed: int, batches: int = 15) -> list[bytes]:
    """Batches of two rows of a few domains, as the runtime would drive them; the corrected features."""
    rng = np.random.default_rng(seed)
    answers = []
    for _ in range(batches):
        keys = 3.0 * rng.integers(-1, 2, size=(2, 1)) + rng.normal(scale=0.3, size=(2, C))
        features = 0.5 * keys + rng.normal(size=(2, C))
        _, found = tracker.recognise(keys)
        corrected, seen = correct(tracker, keys, features, steered=tracker.steers(found.slot).tolist())
        tracker.learn(seen, Runs(seen, 1.5))
        answers.append(corrected.tobytes())
    return answers


@pytest.mark.parametrize("steerable", [True, False])
def test_restored_tracker_continues_bit_for_bit(steerable: bool) -> None:
    tracker = tracker_of(steerable=steerable, trials=2, decide=2)
    other = tracker_of(steerable=steerable, trials=2, decide=2)
    run(tracker, 1)
    state = tracker.snapshot()
    as_taken = flat(state)
    answers = run(tracker, 2)
    assert flat(state) == as_taken
    run(other, 3)
    other.restore(state)
    assert run(other, 2) == answers
    assert_same(other.snapshot(), tracker.snapshot())


def test_a_run_begins_with_what_was_learned_and_nothing_of_the_frames_before() -> None:
    tracker = tracker_of(caution=0.0)
    know(tracker, offset=2.0)
    show(tracker, 9 + KEY, NEW[[2]])
    correct(tracker, KEY, 2 + NEW[[0]])
    before = tracker.snapshot()
    assert before.content is not None
    assert (before.latest, len(before.bank.pending), before.content.frames, before.uncounted) == (1, 1, 1, True)
    tracker.start_run()
    after = tracker.snapshot()
    assert after.bank.domains is before.bank.domains
    assert after.trials is before.trials
    assert (after.latest, after.restlessness, after.uncounted) == (0, 0, False)
    assert (after.bank.current, after.bank.pending, after.content) == (0, (), None)
    # What the run before ended with is new content in this one, answered on its own, and corrected at once.
    corrected, seen = correct(tracker, KEY, 2 + NEW[[0]])
    assert seen.new.tolist() == [True]
    assert seen.found.slot.tolist() == [1]
    assert not np.allclose(corrected, 2 + NEW[[0]])


def test_reset_tracker_is_as_a_new_one() -> None:
    tracker = tracker_of(trials=2)
    run(tracker, 1)
    assert tracker.counts()["domains_found"] > 0
    tracker.reset()
    assert_same(tracker.snapshot(), tracker_of().snapshot())
    assert run(tracker, 2) == run(tracker_of(trials=2), 2)
