"""The fused bank of experts."""

from __future__ import annotations

import torch

from moase_edge.moase.experts import Experts
from tests.moase.adapters import draw


def seeded_bank() -> Experts:
    bank = Experts(6, experts=4, rank=5)
    with torch.no_grad():
        for index, weight in enumerate(bank.parameters()):
            weight.copy_(draw(*weight.shape, seed=index))
    return bank


def test_sizes_are_read_from_the_weights() -> None:
    bank = Experts(6, experts=4, rank=5)
    assert (bank.count, bank.rank, bank.channels) == (4, 5, 6)


def test_fused_down_projection_equals_one_expert_at_a_time() -> None:
    bank, x = seeded_bank(), draw(2, 3, 6)
    pre = bank.project_down(x)
    assert pre.shape == (2, 3, 4, 5)
    for e in range(4):
        torch.testing.assert_close(
            pre[:, :, e], x @ bank.down_weight[e].T + bank.down_bias[e], rtol=1e-6, atol=1e-6
        )


def test_fused_up_projection_equals_the_gated_sum() -> None:
    bank, hidden, gate = seeded_bank(), draw(2, 3, 4, 5), draw(2, 3, 4, seed=1)
    expected = sum(gate[..., e, None] * (hidden[:, :, e] @ bank.up_weight[e] + bank.up_bias[e]) for e in range(4))
    torch.testing.assert_close(bank.project_up(hidden, gate), expected, rtol=1e-6, atol=1e-5)


def test_tensors_of_an_expert_are_views_of_the_bank() -> None:
    bank = seeded_bank()
    down_weight, down_bias, up_weight, up_bias = bank.tensors_of(2)
    assert down_weight.shape == up_weight.shape == (5, 6)
    assert (down_bias.shape, up_bias.shape) == ((5,), (6,))
    with torch.no_grad():
        down_weight.fill_(7)
    assert bool((bank.down_weight[2] == 7).all())
    assert not bool((bank.down_weight[1] == 7).any())


def test_start_is_seeded_bounded_and_zero_after_the_bottleneck() -> None:
    banks = [Experts(16, experts=2, rank=8) for _ in range(3)]
    for bank, seed in zip(banks, (0, 0, 1), strict=True):
        bank.reset_parameters(torch.Generator().manual_seed(seed), up_std=0.0)
    assert torch.equal(banks[0].down_weight, banks[1].down_weight)
    assert not torch.equal(banks[0].down_weight, banks[2].down_weight)
    # Kaiming's bound for 16 inputs is 1/4.
    assert 0.2 < float(banks[0].down_weight.detach().abs().max()) <= 0.25
    assert all(not weight.any() for weight in (banks[0].down_bias, banks[0].up_weight, banks[0].up_bias))
