"""Objectives that pull to the source domain, and the average with the source weights."""

from __future__ import annotations

import pytest
import torch

from moase_edge.errors import ConfigError
from moase_edge.moase.objectives import OBJECTIVES, FeatureMoments
from tests.adapt.backbones import CHANNELS, random_taps
from tests.adapt.learners import follow, small_learner

SOURCE = FeatureMoments(mean=torch.zeros(CHANNELS), std=torch.full((CHANNELS,), 0.5))


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_of_every_objective_reaches_every_adapter(name: str, blocks: int) -> None:
    learner = small_learner(blocks, perturbed=True, objectives={name: 1.0}, source=SOURCE, proximal="none")
    follow(learner, 1)
    for adapter in learner.student.adapters:
        reached = {
            part for part, weight in adapter.named_parameters() if weight.grad is not None and weight.grad.any()
        }
        assert reached == {part for part, _ in adapter.named_parameters()}


@pytest.mark.parametrize("name", sorted(OBJECTIVES.keys() - {"consistency", "reverse-kl"}))
def test_objectives_other_than_agreement_have_a_signal_of_their_own_at_the_start(name: str) -> None:
    (report,) = follow(small_learner(view="same", objectives={name: 1.0}, source=SOURCE), 1)
    assert report.grad_norm > 1e-2


def test_alignment_brings_the_features_moments_nearer_to_the_source() -> None:
    learner = small_learner(
        objectives={"alignment": 1.0}, source=SOURCE, view="same", lr=3e-3, alpha=0.5, proximal="none"
    )
    taps = random_taps(learner.student, batch=16)
    losses = [learner.learn(taps, learner.predict(taps)).loss for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0]
    answer = learner.predict(taps)
    assert float(OBJECTIVES["alignment"](answer, answer, SOURCE)) < 0.8 * losses[0]


def test_alignment_without_source_moments_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"alignment needs.*export --source-data.*calibrate --source"):
        small_learner(objectives={"alignment": 1.0})


def test_student_goes_a_share_of_the_way_back_to_the_source_after_a_step() -> None:
    plain, averaged = small_learner(), small_learner(source_averaging=0.25)
    follow(plain, 1)
    follow(averaged, 1)
    for name, weight in averaged.student.named_parameters():
        moved, origin = plain.student.get_parameter(name), averaged.source.get_parameter(name)
        torch.testing.assert_close(weight.detach(), 0.75 * moved.detach() + 0.25 * origin)
    distances = (averaged.distance(), plain.distance())
    # The teacher follows the student that was averaged.
    assert distances[0].teacher_source == pytest.approx(0.75 * distances[1].teacher_source, rel=1e-3)


def test_averaging_bounds_how_far_a_steady_pull_leads() -> None:
    def reached(averaging: float) -> float:
        learner = small_learner(
            objectives={"entropy": 1.0}, lr=1e-2, alpha=0.0, proximal="none", source_averaging=averaging
        )
        follow(learner, 30)
        return learner.distance().teacher_source

    assert reached(0.2) < 0.5 * reached(0.0)
