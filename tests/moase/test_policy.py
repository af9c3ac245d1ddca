"""The learned augmentation policy."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from moase_edge.moase.augment_frames import Strengths
from moase_edge.moase.policy import START_STD, Action, AugmentPolicy, reward_of

WANTED = 0.2


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy(seed: int = 0, **options: Any) -> AugmentPolicy:
    return AugmentPolicy(generator(seed), **options)


def toy_reward(strengths: Strengths) -> float:
    """Best where every strength is 0.2."""
    return -sum((strength - WANTED) ** 2 for strength in strengths)


def play(learner: AugmentPolicy, steps: int, draws: torch.Generator) -> list[float]:
    """Rewards of a game with one state."""
    rewards = []
    for _ in range(steps):
        action = learner.draw(1.0, 0.5, draws)
        rewards.append(toy_reward(action.strengths))
        learner.learn(action, rewards[-1])
    return rewards


def weights(learner: AugmentPolicy) -> list[Tensor]:
    return [weight.detach().clone() for weight in learner._weights]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_reward_rises_on_a_toy_problem() -> None:
    for seed in range(2):
        rewards = play(policy(seed, lr=1e-2), 300, generator(seed))
        early, late = sum(rewards[:50]) / 50, sum(rewards[-50:]) / 50
        assert late > early + 0.1
        assert late > -0.12


def test_it_learns_what_suits_which_state() -> None:
    learner, draws = policy(lr=1e-2), generator()
    for step in range(800):
        sure = step % 2 == 0
        action = learner.draw(*((0.1, 0.95) if sure else (2.0, 0.2)), draws)
        wanted = 0.9 if sure else 0.1
        learner.learn(action, -sum((strength - wanted) ** 2 for strength in action.strengths))
    sure_latent, unsure_latent = (learner._mean(torch.tensor(state)) for state in ([0.1, 0.95], [2.0, 0.2]))
    assert bool((sure_latent > unsure_latent + 0.5).all())


def test_reward_by_hand() -> None:
    assert reward_of(0.5, Strengths(0.3, 0.0, 0.6)) == pytest.approx(-0.5 - 0.1 * (0.09 + 0.36) / 3)


def test_strengths_are_the_squashed_draw() -> None:
    action = Action(torch.zeros(2), torch.tensor([0.0, 0.5 * math.log(3), -100.0]))
    assert action.strengths == pytest.approx((0.5, 0.75, 0.0))


def test_draws_have_the_gaussians_mean_and_spread() -> None:
    learner, draws = policy(), generator()
    latents = torch.stack([learner.draw(1.0, 0.5, draws).latent for _ in range(4000)])
    expected = learner._mean(torch.tensor([1.0, 0.5])).detach()
    assert torch.allclose(latents.mean(dim=0), expected, atol=0.04)
    assert torch.allclose(latents.std(dim=0), torch.full((3,), START_STD), atol=0.03)


def test_baseline_follows_the_rewards_by_hand() -> None:
    learner = policy()
    for reward, expected in ((-1.0, -0.1), (2.0, 0.9 * -0.1 + 0.2), (0.0, 0.9 * 0.11)):
        learner.learn(learner.draw(1.0, 0.5, generator()), reward)
        assert learner.baseline == pytest.approx(expected)


def test_gradient_is_that_of_the_log_probability_times_the_advantage_and_of_the_entropy() -> None:
    learner = policy(entropy_bonus=0.01)
    learner.baseline = 0.5
    action = learner.draw(1.0, 0.5, generator())
    drawn_from = Normal(learner._mean(action.state), learner._log_std.exp())
    log_p, entropy = drawn_from.log_prob(action.latent).sum(), drawn_from.entropy().sum()  # type: ignore[no-untyped-call]
    expected = torch.autograd.grad(-(2.0 - 0.5) * log_p - 0.01 * entropy, learner._weights)
    learner.learn(action, 2.0)
    for weight, gradient in zip(learner._weights, expected, strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-6)


def test_a_reward_as_expected_moves_nothing_but_the_spread() -> None:
    learner = policy()
    before = weights(learner)
    learner.baseline = -0.3
    learner.learn(learner.draw(1.0, 0.5, generator()), -0.3)
    after = weights(learner)
    assert_same(after[:-1], before[:-1])
    assert bool((after[-1] > before[-1]).all())


def test_seeds_repeat_and_differ() -> None:
    first, again, other = (play(policy(seed), 20, generator(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_drawing_learns_nothing() -> None:
    learner = policy()
    before = weights(learner)
    learner.draw(1.0, 0.5, generator())
    assert_same(weights(learner), before)
    assert learner.baseline == 0.0


def test_reset_is_bit_exact_and_what_follows_repeats() -> None:
    learner, fresh = policy(lr=1e-2), policy(lr=1e-2)
    first = play(learner, 10, generator())
    learner.reset()
    assert_same(weights(learner), weights(fresh))
    assert learner.baseline == 0.0
    assert play(learner, 10, generator()) == first


def test_a_snapshot_is_left_alone_and_brings_everything_back() -> None:
    learner = policy(lr=1e-2)
    play(learner, 10, generator(1))
    state = learner.snapshot()
    taken = [weight.clone() for weight in state.weights]
    first = play(learner, 10, generator(2))
    assert_same(state.weights, taken)
    for _ in range(2):  # the optimiser must not take over the snapshot's tensors
        learner.restore(state)
        assert play(learner, 10, generator(2)) == first
    other = policy(seed=5, lr=1e-2)
    other.restore(state)
    assert play(other, 10, generator(2)) == first
