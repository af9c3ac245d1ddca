"""Learning from stored taps beside new ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from moase_edge.adapt.learner import Learner, relative_entropy
from moase_edge.adapt.sidecar import Taps
from moase_edge.moase.objectives import Views
from tests.adapt.backbones import draw, random_taps
from tests.adapt.learners import assert_same_weights, follow, small_learner, weights


def learner_with(count: int, **options: Any) -> Learner:
    return small_learner(batch_from_reservoir=count, reservoir_capacity=16, **options)


def seen_by_the_step(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Taps, Views]]:
    """Filled with the batch and the teacher's answer of every step from now on."""
    batches: list[tuple[Taps, Views]] = []
    step = learner._step

    def watched(taps: Taps, teacher: Views) -> Any:
        batches.append((taps, teacher))
        return step(taps, teacher)

    monkeypatch.setattr(learner, "_step", watched)
    return batches


def test_a_batch_of_one_is_learned_from_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_with(3)
    batches = seen_by_the_step(learner, monkeypatch)
    singles = [random_taps(learner.student, batch=1, seed=seed) for seed in range(6)]
    for taps in singles:
        learner.learn(taps, learner.predict(taps))
    assert [len(taps.mid) for taps, _ in batches] == [1, 2, 3, 4, 4, 4]
    taps, _ = batches[-1]
    assert torch.equal(taps.mid[:1], singles[-1].mid)
    stored = {float(single.out[0, 0, 0]) for single in singles[:-1]}
    assert {float(out) for out in taps.out[1:, 0, 0]} < stored


def test_the_teacher_answers_stored_taps_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_with(4, lr=1e-2, alpha=0.5)
    batches = seen_by_the_step(learner, monkeypatch)
    follow(learner, 4)
    taps = random_taps(learner.student, seed=9)
    now = learner.predict(taps)
    together, answer = learner._with_stored(taps, now)
    torch.testing.assert_close(answer.logits, learner.predict(together).logits)
    torch.testing.assert_close(answer.features, learner.predict(together).features)
    assert not answer.logits.requires_grad
    # What it answered to such taps while it learned is no longer its answer.
    earlier, old = batches[1]
    assert not torch.allclose(learner.predict(earlier).logits, old.logits, atol=1e-4)


def test_stored_taps_take_part_in_the_update() -> None:
    alone, beside = learner_with(0), learner_with(4)
    follow(alone, 1)
    follow(beside, 1)
    assert_same_weights(weights(alone), weights(beside))
    assert follow(alone, 1, first=1) != follow(beside, 1, first=1)


def test_only_rows_that_are_called_new_are_stored() -> None:
    learner = learner_with(2)
    taps = random_taps(learner.student, batch=3)
    learner.learn(taps, learner.predict(taps), new=torch.tensor([True, False, True]))
    state = learner.snapshot()
    assert state.reservoir is not None
    assert torch.equal(state.reservoir.taps.mid, taps.mid[[0, 2]])
    assert state.reservoir.time.tolist() == [0, 1]
    assert state.clock == 2
    learner.learn(taps, learner.predict(taps), new=torch.zeros(3, dtype=torch.bool))
    assert learner.snapshot().clock == 2


def test_rows_are_stored_with_the_teachers_class_and_doubt() -> None:
    learner = learner_with(2)
    taps = random_taps(learner.student, batch=5)
    answer = learner.predict(taps)
    learner.learn(taps, answer)
    stored = learner.snapshot().reservoir
    assert stored is not None
    assert stored.predicted.tolist() == answer.logits.argmax(1).tolist()
    torch.testing.assert_close(stored.uncertainty.float(), relative_entropy(answer.logits))


def test_relative_entropy_spans_zero_to_one() -> None:
    doubts = relative_entropy(torch.tensor([[0.0, 0.0, 0.0], [1e4, 0.0, 0.0]]))
    assert doubts.tolist() == pytest.approx([1, 0])
    assert relative_entropy(torch.zeros(2, 1)).tolist() == [0, 0]
    assert bool((relative_entropy(draw(9, 5)) < 1).all())


def test_a_learner_without_a_reservoir_takes_a_snapshot_of_one_with() -> None:
    plain, storing = learner_with(0), learner_with(2)
    follow(storing, 2)
    state = storing.snapshot()
    plain.restore(state)
    assert_same_weights(weights(plain), weights(storing))
    assert plain.snapshot().reservoir is None
    storing.restore(plain.snapshot())
    emptied = storing.snapshot().reservoir
    assert emptied is not None
    assert len(emptied.time) == 0
