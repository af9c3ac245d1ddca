"""Updates beside the answers: what is published when, with a lane whose end the test decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from moase_edge.adapt.learner import DISTANCE_EVERY, Learner
from moase_edge.adapt.published import PublishedLearner
from moase_edge.adapt.sidecar import Taps
from moase_edge.errors import AdaptationError
from tests.adapt.backbones import random_taps
from tests.adapt.learners import BUSY, small_learner


def make_learner() -> Learner:
    return small_learner(**BUSY)


def make_taps(seed: int) -> Taps:
    return random_taps(_SHAPES, seed=seed)


_SHAPES = small_learner().student


class HeldTicket:
    """A job whose work is done at once, and which is over when `end` is called: a fake of the stream's event."""

    def __init__(self, job: Callable[[], Any]) -> None:
        self.over = False
        self.waited = False
        self._failure: Exception | None = None
        try:
            self._value = job()
        except AdaptationError as exc:
            self._failure = exc

    def done(self) -> bool:
        return self.over

    def result(self) -> Any:
        self.waited = not self.over
        self.over = True
        if self._failure is not None:
            raise self._failure
        return self._value


class HeldLane:
    """A lane whose jobs end when the test says so."""

    def __init__(self) -> None:
        self.tickets: list[HeldTicket] = []
        self.closed = False

    def submit(self, job: Callable[[], Any]) -> HeldTicket:
        self.tickets.append(HeldTicket(job))
        return self.tickets[-1]

    def close(self) -> None:
        self.closed = True

    def end(self) -> None:
        self.tickets[-1].over = True


@pytest.fixture
def lane() -> HeldLane:
    return HeldLane()


def published(lane: HeldLane) -> PublishedLearner:
    return PublishedLearner(make_learner(), lane)


def weights(learner: PublishedLearner | Learner) -> list[Tensor]:
    return [weight.clone() for weight in learner.teacher.parameters()]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def answer_and_learn(learner: PublishedLearner | Learner, seed: int) -> Any:
    taps = make_taps(seed)
    return learner.learn(taps, learner.predict(taps))


def test_a_teacher_answers_unchanged_until_the_update_is_over_and_complete_afterwards(lane: HeldLane) -> None:
    learner, alone = published(lane), make_learner()
    before = weights(learner)
    assert answer_and_learn(learner, 0) is None
    for seed in (1, 2):
        learner.predict(make_taps(seed))
        assert equal(weights(learner), before), "half an update was seen"
    lane.end()
    learner.predict(make_taps(3))
    report = answer_and_learn(alone, 0)
    assert equal(weights(learner), weights(alone)), "the update differs from the one that is waited for"
    assert learner.learn(make_taps(4), learner.predict(make_taps(4))) == report
    assert learner.updates == 1


def test_many_updates_that_are_over_at_once_equal_those_that_are_waited_for(lane: HeldLane) -> None:
    learner, alone = published(lane), make_learner()
    for seed in range(12):
        answer_and_learn(learner, seed)
        lane.end()
        answer_and_learn(alone, seed)
    learner.predict(make_taps(0))
    assert equal(weights(learner), weights(alone))
    assert (learner.updates, learner.skipped) == (12, 0)


def test_frames_that_come_during_an_update_are_answered_and_not_learned_from(lane: HeldLane) -> None:
    learner = published(lane)
    for seed in range(5):
        assert answer_and_learn(learner, seed) is None
    assert (len(lane.tickets), learner.skipped, learner.updates) == (1, 4, 0)
    assert not lane.tickets[0].waited, "an answer waited for the update"


def test_taps_are_copied_before_the_engine_writes_its_next_answer_there(lane: HeldLane) -> None:
    class Late(HeldLane):
        def submit(self, job: Callable[[], Any]) -> HeldTicket:
            taps.mid.fill_(torch.nan)
            taps.out.fill_(torch.nan)
            return super().submit(job)

    learner, taps = published(late := Late()), make_taps(0)
    learner.learn(taps, learner.predict(taps))
    late.end()
    learner.predict(make_taps(1))
    assert learner.updates == 1
    assert all(weight.isfinite().all() for weight in weights(learner))


def test_an_update_that_fails_is_raised_at_the_next_and_publishes_nothing(lane: HeldLane) -> None:
    learner = published(lane)
    before = weights(learner)
    views = learner.predict(make_taps(0))
    learner.learn(make_taps(0), replace(views, logits=torch.full_like(views.logits, torch.nan)))
    lane.end()
    learner.predict(make_taps(1))
    assert equal(weights(learner), before)
    with pytest.raises(AdaptationError, match="not finite"):
        answer_and_learn(learner, 1)


def fail(learner: PublishedLearner, lane: HeldLane) -> None:
    views = learner.predict(make_taps(0))
    learner.learn(make_taps(0), replace(views, logits=torch.full_like(views.logits, torch.nan)))
    lane.end()


def test_a_failure_is_raised_once_and_nothing_is_kept_before(lane: HeldLane) -> None:
    learner = published(lane)
    fail(learner, lane)
    for _ in range(2):
        with pytest.raises(AdaptationError, match="not finite"):
            learner.snapshot()
    with pytest.raises(AdaptationError, match="not finite"):
        answer_and_learn(learner, 1)
    assert answer_and_learn(learner, 2) is None


@pytest.mark.parametrize("back", ["restore", "reset"])
def test_going_back_leaves_a_failure_behind(back: str, lane: HeldLane) -> None:
    learner = published(lane)
    kept = learner.snapshot()
    fail(learner, lane)
    learner.reset() if back == "reset" else learner.restore(kept)
    assert answer_and_learn(learner, 1) is None
    lane.end()
    assert answer_and_learn(learner, 2) is not None


def test_distances_after_going_back_are_those_of_where_it_went(lane: HeldLane) -> None:
    alone = make_learner()
    answer_and_learn(alone, 0)
    learner = published(lane)
    learner.restore(alone.snapshot())
    assert learner.distance() == alone.distance()
    learner.reset()
    with pytest.raises(AdaptationError, match="no update is over yet"):
        learner.distance()


def test_a_rollback_waits_for_the_update_and_undoes_it_bit_for_bit(lane: HeldLane) -> None:
    learner = published(lane)
    answer_and_learn(learner, 0)
    lane.end()
    learner.predict(make_taps(0))
    kept, there = learner.snapshot(), weights(learner)
    answer_and_learn(learner, 1)
    learner.restore(kept)
    assert lane.tickets[-1].waited
    assert equal(weights(learner), there)
    assert learner.updates == 1
    learner.reset()
    assert equal(weights(learner), weights(make_learner()))
    assert learner.updates == 0


def test_distances_are_those_of_the_update_that_measured_them(lane: HeldLane) -> None:
    learner, alone = published(lane), make_learner()
    with pytest.raises(AdaptationError, match="no update is over yet"):
        learner.distance()
    answer_and_learn(alone, 0)
    expected = alone.distance()
    for seed in range(DISTANCE_EVERY):
        answer_and_learn(learner, seed)
        lane.end()
        learner.predict(make_taps(0))
        assert learner.distance() == expected


def test_frames_to_run_again_are_refused(lane: HeldLane) -> None:
    learner, taps = published(lane), make_taps(0)
    with pytest.raises(AdaptationError, match="cannot run the engine"):
        learner.learn(taps, learner.predict(taps), rerun=object())  # type: ignore[arg-type]


def test_rows_are_kept_for_a_later_step_but_not_under_an_update(lane: HeldLane) -> None:
    learner, taps = published(lane), make_taps(0)
    learner.keep(taps, learner.predict(taps))
    assert learner.snapshot().clock == 2
    answer_and_learn(learner, 1)
    learner.keep(taps, learner.predict(taps))
    assert learner.snapshot().clock == 4, "the batch of the update alone came to it"


def test_closing_ends_the_lane(lane: HeldLane) -> None:
    published(lane).close()
    assert lane.closed
