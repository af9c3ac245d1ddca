"""What is put off for want of time, and what is counted all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from moase_edge.adapt.adaptation import Adaptation
from moase_edge.adapt.tracker import Tracker
from tests.adapt.adaptations import PLAIN, held, learn, taps_of
from tests.adapt.learners import BUSY, assert_same_weights, small_learner, weights
from tests.adapt.trackers import assert_same


def seen_by(adaptation: Adaptation, steps: int, *, deferred: bool) -> Tracker:
    for seed in range(steps):
        answer = adaptation.answer(taps_of(adaptation, seed), PLAIN)
        if deferred:
            adaptation.defer(answer, frozen_logits=answer.logits)
        else:
            learn(adaptation, answer)
    assert adaptation.tracker is not None
    return adaptation.tracker


def test_the_tracker_counts_a_frame_whose_update_is_put_off_as_any_other() -> None:
    counted, deferred = (seen_by(held(), 12, deferred=deferred) for deferred in (False, True))
    assert_same(deferred.snapshot(), counted.snapshot())
    assert deferred.counts() == counted.counts()


def test_no_weight_moves_and_the_frame_is_kept_for_a_later_step() -> None:
    learner = small_learner(objectives={"entropy": 1.0}, **BUSY)
    adaptation = Adaptation(learner)
    before = weights(learner)
    answer = adaptation.answer(taps_of(adaptation, batch=2), np.zeros(2, dtype=bool))
    adaptation.defer(answer, frozen_logits=answer.logits)
    assert_same_weights(weights(learner), before)
    assert learner.updates == 0
    kept: Any = learner.snapshot().reservoir
    assert torch.equal(kept.taps.mid, answer.taps.mid)


def test_the_guard_sees_a_frame_whose_update_is_put_off() -> None:
    class Counting:
        rollbacks, trusts, seen = 0, True, 0

        def observe(self, logits: Any, frozen: Any, new: Any) -> None:
            self.seen += len(logits)

        def judge(self, frames: int) -> None:
            self.judged = frames

    adaptation = held(tracked=False)
    adaptation._watch = watch = Counting()  # type: ignore[assignment]
    answer = adaptation.answer(taps_of(adaptation), PLAIN)
    adaptation.defer(answer, frozen_logits=answer.logits)
    assert (watch.seen, watch.judged) == (1, 1)
