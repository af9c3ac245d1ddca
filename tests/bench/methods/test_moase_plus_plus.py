"""MoASE++ in the whole network: what it sees, what it minimises, what its policy learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from moase_edge.bench.methods import moase_plus_plus
from moase_edge.bench.methods.full_network import build_official
from moase_edge.bench.methods.moase_plus_plus import LEARNER, MoasePlusPlus, PlusPlusSettings, build_plus_plus
from moase_edge.moase.augment_frames import Strengths
from moase_edge.moase.objectives import Views, consistency, reverse_kl
from moase_edge.moase.policy import reward_of
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import changed, frames, run, tiny_subject, weights_of


def moved(seed: int = 0) -> MoasePlusPlus:
    """A method whose student and teacher no longer agree."""
    method = build_plus_plus(tiny_subject(), seed)
    with torch.no_grad():
        for weight in method._student.head.parameters():  # type: ignore[union-attr]
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return method


def views(logits: Tensor) -> Views:
    return Views(logits=logits, features=logits)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Strengths]]:
    """What the frames were augmented to, and how strongly; noise of half a spread, so that it can be told."""
    seen: list[tuple[Tensor, Strengths]] = []

    def augment(images: Tensor, strengths: Strengths, generator: torch.Generator) -> Tensor:
        noisy = images + 0.5 * torch.randn(images.shape, generator=generator)
        seen.append((noisy, strengths))
        return noisy

    monkeypatch.setattr(moase_plus_plus, "augment_frames", augment)
    return seen


def test_the_teacher_answers_the_plain_frames_as_moase_does() -> None:
    images = frames(3)
    expected = build_official(tiny_subject(), 2).predict(images, Stages()).logits
    method = build_plus_plus(tiny_subject(), 2)
    assert np.array_equal(method.predict(images, Stages()).logits, expected)


def test_loss_is_consistency_on_the_frames_and_reverse_kl_on_the_augmented_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, images, seen = moved(), frames(4), watched(monkeypatch)
    with torch.no_grad():
        plain = [network(torch.from_numpy(images)) for network in (method._student, method._teacher)]
    networks = [weights_of(network) for network in (method._student, method._teacher)]
    _, update = run(method, images)
    assert update is not None
    for network, weights in zip((method._student, method._teacher), networks, strict=True):
        network.load_state_dict(weights)
    ((augmented, strengths),) = seen
    with torch.no_grad():
        student, teacher = (views(network(augmented)) for network in (method._student, method._teacher))
    divergence = float(reverse_kl(student, teacher))
    assert divergence > 0.01
    expected = float(consistency(*map(views, plain))) + divergence
    assert update["loss"] == pytest.approx(expected, rel=1e-4)
    assert update["reverse_kl"] == pytest.approx(divergence, rel=1e-4)
    assert [update[name] for name in Strengths._fields] == list(strengths)
    assert update["proximal"] == 0.0


def test_the_policy_is_asked_with_the_students_entropy_and_confidence_and_told_the_reward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, images = moved(), frames(4)
    with torch.no_grad():
        p = method._student(torch.from_numpy(images)).softmax(-1)
    learned: list[tuple[Any, float]] = []
    monkeypatch.setattr(method._policy, "learn", lambda action, reward: learned.append((action, reward)))
    _, update = run(method, images)
    assert update is not None
    ((action, reward),) = learned
    state = [float(-(p * p.log()).sum(-1).mean()), float(p.amax(-1).mean())]
    assert action.state.tolist() == pytest.approx(state, rel=1e-4)
    assert reward == pytest.approx(reward_of(update["reverse_kl"], action.strengths))


def test_student_teacher_and_policy_learn() -> None:
    method = moved()
    before = [weights_of(part) for part in (method._student, method._teacher, method._policy._mean)]
    run(method, frames(4))
    for weights, part in zip(before, (method._student, method._teacher, method._policy._mean), strict=True):
        assert changed(weights, part)
    assert method._policy.baseline != 0.0


def test_where_both_agree_there_is_nothing_to_learn_from() -> None:
    method = build_plus_plus(tiny_subject(), 0)
    _, update = run(method, frames(4))
    assert update is not None
    assert update["grad_norm"] < 1e-3  # rounding; MoASE's own is as large
    assert abs(update["reverse_kl"]) < 1e-5
    _, update = run(moved(), frames(4))
    assert update is not None
    assert update["grad_norm"] > 0.1


def test_a_step_that_is_not_finite_is_counted_and_teaches_the_policy_nothing() -> None:
    method = moved()
    method._student.head.bias.data.fill_(float("nan"))  # type: ignore[union-attr,operator]
    before = [weights_of(part) for part in (method._student, method._policy._mean)]
    assert run(method, frames(2))[1] is None
    assert method.failures == {"non-finite loss": 1}
    assert changed(before[0], method._student) == {"head.bias"}  # which no longer equals itself
    assert not changed(before[1], method._policy._mean)
    assert method._policy.baseline == 0.0


def test_it_is_the_published_learner_without_the_proximal_term() -> None:
    assert (LEARNER.lr, LEARNER.alpha, LEARNER.restore_probability) == (1e-4, 0.999, 0.01)
    assert LEARNER.proximal == "none"
    settings = PlusPlusSettings()
    assert (settings.distillation_weight, settings.policy_baseline) == (1.0, 0.9)
    assert settings.policy_entropy_bonus == 1e-3
