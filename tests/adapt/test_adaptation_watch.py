"""What the watch does to everything that adapts, and that all of it goes back together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moase_edge.adapt.adaptation import Adaptation, Answer
from moase_edge.adapt.guard import Guard
from moase_edge.adapt.held import HeldSidecar
from moase_edge.adapt.learner import Learner
from moase_edge.adapt.referee import Referee
from tests.adapt.adaptations import (
    PLAIN,
    follow,
    held,
    learn,
    taps_of,
    tracker_of,
)
from tests.adapt.backbones import CLASSES, random_taps, sidecar_of, small_vit
from tests.adapt.learners import BUSY, assert_same_state, flattened, small_learner
from tests.adapt.test_tracker import flat as flat_tracker


def collapsing() -> tuple[Learner, Adaptation]:
    """A learner that goes to one class within a few frames, and a watch that soon sees it."""
    learner = small_learner(
        perturbed=True, train=("adapter", "head"), lr=0.5, alpha=0.0, objectives={"entropy": 1.0}, proximal="none"
    )
    guard = Guard(window=8, warm_up=4, min_confident=1, min_class_ratio=0.9, max_contradiction=1.0)
    referee = Referee(proven=100, probation=20, hold_off=6, max_hold_off=12)
    return learner, Adaptation(learner, guard=guard, referee=referee)


def frozen_answer(index: int) -> NDArray[np.float32]:
    """Sure of one class after the other."""
    logits = np.zeros((1, CLASSES), dtype=np.float32)
    logits[0, index % CLASSES] = 3
    return logits


def live(adaptation: Adaptation, frames: int, first: int = 0) -> None:
    """What a runtime does: answers adapted and learns where that is trusted, waits where it is not."""
    for index in range(first, first + frames):
        if adaptation.trusted:
            answer = adaptation.answer(taps_of(adaptation, index), PLAIN)
            learn(adaptation, answer, frozen_answer(index))
        else:
            adaptation.wait(1)


def test_a_learner_that_goes_wrong_is_rolled_back_then_frozen_then_tried_again() -> None:
    learner, adaptation = collapsing()
    start = flattened(learner.snapshot())
    events = []
    for index in range(60):
        before = adaptation.counts()
        live(adaptation, 1, index)
        after = adaptation.counts()
        for event in ("rollbacks", "freezes", "retries"):
            if after[event] > before[event]:
                events.append(event)
                assert_same_state(flattened(learner.snapshot()), start)
    assert events[:4] == ["rollbacks", "freezes", "retries", "freezes"]
    assert adaptation.counts()["frames_frozen"] >= 6
    assert adaptation.rollbacks == adaptation.counts()["rollbacks"] + adaptation.counts()["freezes"]
    assert any(name.startswith("alarm: ") for name in adaptation.counts())


def test_while_it_is_not_trusted_nothing_is_learned_and_waiting_ends_in_a_retry() -> None:
    learner, adaptation = collapsing()
    index = 0
    while adaptation.trusted:
        live(adaptation, 1, index)
        index += 1
    assert learner.updates == 0
    live(adaptation, 5, index)
    assert not adaptation.trusted
    adaptation.wait(1)
    assert adaptation.trusted
    assert adaptation.counts()["frames_frozen"] == 6


def test_a_rollback_sets_tracker_and_learner_back_together() -> None:
    learner = small_learner(perturbed=True)
    guard = Guard(max_distance=1e-9)
    adaptation = Adaptation(learner, tracker=tracker_of(learner.teacher), guard=guard)
    start = adaptation.snapshot()
    assert start.learner is not None
    assert start.tracker is not None
    as_started = flattened(start.learner), flat_tracker(start.tracker)
    follow(adaptation, 1)  # the first step tells its distance
    assert adaptation.rollbacks == 1
    state = adaptation.snapshot()
    assert state.learner is not None
    assert state.tracker is not None
    assert_same_state(flattened(state.learner), as_started[0])
    assert flat_tracker(state.tracker) == as_started[1]


def test_a_rollback_takes_back_what_was_learned_but_no_count_and_no_frame_at_hand() -> None:
    adaptation = held(referee=Referee(proven=3))
    follow(adaptation, 9)
    found = adaptation.counts()
    assert (found["domains_found"], found["domain_switches"], found["snapshots"]) == (1, 1, 3)
    answer = adaptation.answer(taps_of(adaptation, 9), PLAIN)
    adaptation.refuse(np.full_like(answer.logits, np.nan), answer.logits)
    counts = adaptation.counts()
    assert counts["rollbacks"] == 1
    assert all(counts[name] >= number for name, number in found.items())
    assert adaptation.tracker is not None
    state = adaptation.tracker.snapshot()
    assert (state.bank.current, state.latest, state.content) == (0, 0, None)


def test_an_adapted_answer_that_is_not_finite_raises_an_alarm_at_once() -> None:
    adaptation = held(tracked=False)
    answer = adaptation.answer(taps_of(adaptation), PLAIN)
    broken = Answer(np.full_like(answer.logits, np.nan), answer.taps, answer.views, None)
    learn(adaptation, broken, answer.logits)
    assert adaptation.counts()["rollbacks"] == 1


def test_only_new_content_moves_the_watch_s_clock() -> None:
    adaptation = held(referee=Referee(proven=3))
    for _ in range(6):
        learn(adaptation, adaptation.answer(taps_of(adaptation), PLAIN))
    assert adaptation.counts()["snapshots"] == 0
    unlike = held(referee=Referee(proven=3), tracked=False)
    follow(unlike, 6)
    assert unlike.counts()["snapshots"] == 2


def test_a_view_that_stays_is_one_content_also_while_it_is_answered_frozen() -> None:
    adaptation = held()
    views = [taps_of(adaptation, seed) for seed in (1, 1, 1, 2, 1)]
    assert [adaptation.contents(taps) for taps in views] == [1, 0, 0, 1, 1]
    assert held(tracked=False).contents(taps_of(adaptation, batch=3)) == 3


def test_rows_of_which_the_frozen_model_was_not_asked_are_not_compared() -> None:
    adaptation = held(tracked=False)
    answer = adaptation.answer(taps_of(adaptation), PLAIN)
    broken = Answer(np.full_like(answer.logits, np.nan), answer.taps, answer.views, None)
    learn(adaptation, broken, np.full_like(answer.logits, np.nan))
    assert adaptation.counts()["rollbacks"] == 0


def test_a_network_with_one_output_is_not_watched() -> None:
    sidecar = sidecar_of(small_vit(num_classes=1))
    adaptation = Adaptation(HeldSidecar(sidecar), has_classes=False)
    answer = adaptation.answer(random_taps(sidecar), np.zeros(2, dtype=bool))
    learn(adaptation, answer)
    adaptation.refuse(np.full((2, 1), np.nan, dtype=np.float32), np.zeros((2, 1), dtype=np.float32))
    assert adaptation.trusted


def busy() -> tuple[Learner, Adaptation]:
    learner = small_learner(perturbed=True, **BUSY)
    return learner, Adaptation(learner, tracker=tracker_of(learner.teacher))


def test_restored_adaptation_continues_bit_for_bit() -> None:
    learner, adaptation = busy()
    follow(adaptation, 6)
    state = adaptation.snapshot()
    answers = follow(adaptation, 6, first=6)
    after = flattened(learner.snapshot())
    adaptation.restore(state)
    assert follow(adaptation, 6, first=6) == answers
    assert_same_state(flattened(learner.snapshot()), after)
    other_learner, other = busy()
    other.restore(state)
    assert follow(other, 6, first=6) == answers
    assert_same_state(flattened(other_learner.snapshot()), after)
