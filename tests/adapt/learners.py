"""Learners in the middle of their work, for the tests of this folder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moase_edge.adapt.learner import Learner
from moase_edge.adapt.state import AdaptedState
from moase_edge.moase.step import StepReport
from tests.adapt.backbones import random_taps, sidecar_of, small_vit

# Every kind of state takes part: gates, norm and head, optimiser, random view and restore, a full reservoir.
BUSY: dict[str, Any] = {
    "train": ("adapter", "norm", "head"),
    "lr": 1e-3,
    "alpha": 0.9,
    "view_strength": 0.3,
    "restore_probability": 0.05,
    "source_averaging": 0.01,
    "batch_from_reservoir": 3,
    "reservoir_capacity": 4,
}


def small_learner(adapt_blocks: int = 1, *, perturbed: bool = False, **options: Any) -> Learner:
    """A learner of a small class-token transformer."""
    return Learner(sidecar_of(small_vit(), adapt_blocks, perturbed=perturbed), **options)


def follow(learner: Learner, steps: int, first: int = 0) -> list[StepReport]:
    """Answer and learn a seeded stream of batches."""
    reports = []
    for seed in range(first, first + steps):
        taps = random_taps(learner.student, seed=seed)
        reports.append(learner.learn(taps, learner.predict(taps)))
    return reports


def weights(learner: Learner) -> dict[str, Tensor]:
    """Copies of all weights of student and teacher."""
    return {
        f"{side}.{name}": weight.detach().clone()
        for side, sidecar in (("student", learner.student), ("teacher", learner.teacher))
        for name, weight in sidecar.named_parameters()
    }


def assert_same_weights(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name


def flattened(state: AdaptedState) -> list[Any]:
    """A snapshot as one list of copied tensors and numbers, in a fixed order."""
    moments = [state.optimizer[index] for index in sorted(state.optimizer)]
    tensors = [*state.student, *state.teacher, *(moment[key] for moment in moments for key in sorted(moment))]
    if state.reservoir is not None:
        kept = state.reservoir
        tensors += [*kept.taps, kept.predicted, kept.uncertainty, kept.time]
    if state.policy is not None:
        tensors += [*state.policy.weights, torch.tensor(state.policy.baseline)]
    counts = torch.tensor([state.updates, state.clock])
    return [*(tensor.clone() for tensor in tensors), state.generator.clone(), counts]


def assert_same_state(found: list[Any], expected: list[Any]) -> None:
    """Bit for bit."""
    assert len(found) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
