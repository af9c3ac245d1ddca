"""Snapshot, restore and reset."""

from __future__ import annotations

import pytest
import torch

from tests.adapt.backbones import random_taps
from tests.adapt.learners import (
    BUSY,
    assert_same_state,
    assert_same_weights,
    flattened,
    follow,
    small_learner,
    weights,
)


@pytest.mark.parametrize("blocks", [1, 2])
def test_reset_is_bit_exact_and_later_updates_repeat(blocks: int) -> None:
    learner = small_learner(blocks, **BUSY)
    taps = random_taps(learner.student)
    source, source_answer = weights(learner), learner.predict(taps).logits
    first = follow(learner, 4)
    reached = weights(learner)
    assert not torch.equal(learner.predict(taps).logits, source_answer)
    learner.reset()
    assert learner.updates == 0
    assert_same_weights(weights(learner), source)
    assert torch.equal(learner.predict(taps).logits, source_answer)
    assert follow(learner, 4) == first
    assert_same_weights(weights(learner), reached)


def test_reset_state_equals_that_of_a_new_learner() -> None:
    learner = small_learner(**BUSY)
    follow(learner, 2)
    learner.reset()
    assert_same_state(flattened(learner.snapshot()), flattened(small_learner(**BUSY).snapshot()))


@pytest.mark.parametrize("steps", [0, 3])
def test_run_continues_from_a_snapshot_as_it_did_the_first_time(steps: int) -> None:
    learner = small_learner(**BUSY)
    follow(learner, steps)
    state = learner.snapshot()
    first = follow(learner, 3, first=steps)
    reached = flattened(learner.snapshot())
    learner.restore(state)
    assert learner.updates == steps
    assert follow(learner, 3, first=steps) == first
    assert_same_state(flattened(learner.snapshot()), reached)


def test_another_learner_continues_from_a_snapshot() -> None:
    learner, other = small_learner(**BUSY), small_learner(**BUSY)
    follow(learner, 3)
    follow(other, 1, first=20)
    other.restore(learner.snapshot())
    assert_same_weights(weights(other), weights(learner))
    assert follow(other, 3, first=3) == follow(learner, 3, first=3)
    assert_same_state(flattened(other.snapshot()), flattened(learner.snapshot()))


def test_later_steps_do_not_reach_a_snapshot() -> None:
    learner = small_learner(**BUSY)
    follow(learner, 2)
    state = learner.snapshot()
    as_taken = flattened(state)
    follow(learner, 2)
    assert_same_state(flattened(state), as_taken)
    # Nor do they after it was restored, when the optimiser may have taken over its tensors.
    learner.restore(state)
    follow(learner, 2)
    assert_same_state(flattened(state), as_taken)


def test_restore_leaves_the_learning_rate_to_the_learner() -> None:
    slow, fast = small_learner(lr=1e-4), small_learner(lr=1e-2)
    fast.restore(slow.snapshot())
    before = weights(fast)
    follow(fast, 1)
    # The first step of Adam is the learning rate, for every weight whose gradient is above rounding.
    moved = max(float((weight - before[name]).abs().max()) for name, weight in weights(fast).items())
    assert moved == pytest.approx(1e-2, rel=1e-3)
