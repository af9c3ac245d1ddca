"""Stochastic restore."""

from __future__ import annotations

import math

import pytest
import torch

from moase_edge.moase.restore import restore_at_random

SIZE = 200_000


def restored(probability: float, seed: int = 0) -> torch.Tensor:
    """Which of many weights were restored."""
    weights = [torch.ones(SIZE // 2), torch.ones(2, SIZE // 4)]
    source = [torch.zeros_like(weight) for weight in weights]
    restore_at_random(weights, source, probability, torch.Generator().manual_seed(seed))
    return torch.cat([weight.flatten() for weight in weights]) == 0


@pytest.mark.parametrize("probability", [0.01, 0.3])
def test_share_is_within_five_standard_deviations(probability: float) -> None:
    deviation = math.sqrt(probability * (1 - probability) * SIZE)
    assert abs(int(restored(probability).sum()) - probability * SIZE) < 5 * deviation


def test_zero_restores_nothing_and_one_restores_all() -> None:
    assert not restored(0.0).any()
    assert restored(1.0).all()


def test_choice_repeats_with_its_seed() -> None:
    assert torch.equal(restored(0.1, seed=4), restored(0.1, seed=4))
    assert not torch.equal(restored(0.1, seed=4), restored(0.1, seed=5))


def test_weights_in_training_are_set_and_others_keep_their_value() -> None:
    weight = torch.nn.Parameter(torch.full((1000,), 3.0))
    source = torch.arange(1000.0) + 10
    restore_at_random([weight], [source], 0.5, torch.Generator().manual_seed(0))
    chosen = weight.detach() != 3
    assert torch.equal(weight.detach()[chosen], source[chosen])
    assert 0 < int(chosen.sum()) < 1000
    assert weight.requires_grad
