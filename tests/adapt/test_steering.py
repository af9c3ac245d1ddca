"""Trials of steering: when they are due, and what they decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.adapt.steering import SteeringTrials
from moase_edge.metrics.uncertainty import entropy, softmax

Pooled = NDArray[np.floating]


def head(pooled: Pooled) -> Pooled:
    """Two classes whose logits are +- the sum of what is read."""
    total = pooled.sum(axis=(1, 2))
    return np.stack([total, -total], axis=1)


def trials_of(**options: Any) -> SteeringTrials:
    return SteeringTrials(head, **{"trials": 2, "try_every": 3, **options})


def inputs(value: float) -> Pooled:
    return np.array([[value, 0.0]], dtype=np.float32)


def tried(trials: SteeringTrials, plain: float, steered: float, *, number: int = 1, times: int = 2) -> bool:
    for _ in range(times):
        trials.add(number, inputs(plain), inputs(steered))
    trials.decide(number, None, None)
    return trials.steers(number)


def entropy_at(value: float) -> float:
    return float(entropy(softmax([value, -value])))


def test_nothing_is_steered_before_a_trial() -> None:
    trials = trials_of()
    assert not trials.steers(1)
    trials.decide(1, None, None)
    assert not trials.steers(1)


def test_every_frame_is_due_until_enough_were_tried_then_each_after_a_pause() -> None:
    trials = trials_of()
    due = []
    for _ in range(12):
        due.append(trials.due(1))
        if due[-1]:
            trials.add(1, inputs(1), inputs(1))
    # Two trials, then three frames between one and the next.
    assert due == [True, True, False, False, False, True, False, False, False, True, False, False]


def test_a_frame_that_was_due_and_could_not_be_tried_leaves_the_next_one_due() -> None:
    trials = trials_of()
    assert [trials.due(1) for _ in range(5)] == [True] * 5


def test_domains_are_tried_apart() -> None:
    trials = trials_of()
    assert tried(trials, 0.1, 2.0, number=1)
    assert not trials.due(1)
    assert trials.due(2)
    assert not trials.steers(2)


def test_steering_is_kept_up_where_it_lowers_the_entropy_by_the_gain() -> None:
    plain, steered = 0.5, 0.6
    lowered = 1 - entropy_at(steered) / entropy_at(plain)
    assert 0.05 < lowered < 0.2
    assert tried(trials_of(gain=lowered - 0.001), plain, steered)
    assert not tried(trials_of(gain=lowered + 0.001), plain, steered)
    assert not tried(trials_of(gain=0.0), steered, plain)


def test_equal_answers_are_not_steered_even_without_a_gain() -> None:
    assert not tried(trials_of(gain=0.0), 0.7, 0.7)


def test_nothing_is_decided_on_fewer_trials_than_asked_for() -> None:
    trials = trials_of(trials=3)
    assert not tried(trials, 0.1, 3.0, times=2)
    assert tried(trials, 0.1, 3.0, times=1)


def test_each_way_is_judged_after_its_own_correction() -> None:
    trials = trials_of(gain=0.0)
    for _ in range(2):
        trials.add(1, inputs(3), inputs(2))
    trials.decide(1, None, None)
    assert not trials.steers(1)
    trials.decide(1, np.array([2.9, 0.0]), None)
    assert trials.steers(1)
    trials.decide(1, np.array([2.9, 0.0]), np.array([1.95, 0.0]))
    assert not trials.steers(1)


def test_decision_follows_the_latest_sixteen_pairs() -> None:
    trials = trials_of()
    assert tried(trials, 0.1, 3.0, times=40)
    assert len(trials.snapshot()[1].plain) == len(trials.snapshot()[1].steered) == 16
    assert not tried(trials, 3.0, 0.1, times=16)


@pytest.mark.parametrize("needed", [16, 17, 40])
def test_as_many_pairs_are_kept_as_a_decision_needs(needed: int) -> None:
    trials = trials_of(trials=needed)
    assert not tried(trials, 0.1, 3.0, times=needed - 1)
    assert trials.due(1)
    assert tried(trials, 0.1, 3.0, times=1)
    assert not trials.due(1)
    assert tried(trials, 0.1, 3.0, times=50)
    assert len(trials.snapshot()[1].plain) == needed


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=16), st.floats(0, 0.99))
def test_steering_never_raises_the_mean_entropy_of_the_trials(
    pairs: list[tuple[float, float]], gain: float
) -> None:
    trials = trials_of(gain=gain)
    for plain, steered in pairs:
        trials.add(1, inputs(plain), inputs(steered))
    trials.decide(1, None, None)
    if trials.steers(1):
        means = np.mean([[entropy_at(plain), entropy_at(steered)] for plain, steered in pairs], axis=0)
        assert means[1] < (1 - gain) * means[0] + 1e-4


def test_answers_that_are_no_numbers_are_not_steered_to() -> None:
    assert not tried(trials_of(), 0.5, np.nan)


def test_trials_of_domains_that_are_gone_are_forgotten() -> None:
    trials = trials_of()
    assert tried(trials, 0.1, 3.0, number=1)
    assert tried(trials, 0.1, 3.0, number=2)
    trials.forget_all_but({0, 2})
    assert not trials.steers(1)
    assert trials.steers(2)
    assert trials.snapshot().keys() == {2}


def test_snapshot_is_changed_by_no_later_trial_and_restored() -> None:
    trials = trials_of()
    assert tried(trials, 0.1, 3.0)
    state = trials.snapshot()
    assert not tried(trials, 3.0, 0.1, times=16)
    trials.due(2)
    trials.forget_all_but(set())
    assert state.keys() == {1}
    assert state[1].steers
    assert len(state[1].plain) == 2
    trials.restore(state)
    assert trials.steers(1)
    assert not trials.due(1)
    trials.reset()
    assert not trials.steers(1)
    assert trials.snapshot() == {}
