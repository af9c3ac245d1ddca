"""The `official` preset: the authors' forward and, one by one, its bugs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moase_edge.moase.adapter import MoaseAdapter
from moase_edge.moase.official import kept_counts
from tests.moase.adapters import adapter_at, draw, gradients, zero_all


def softmax(logits: Tensor) -> Tensor:
    raised = logits.exp()
    return raised / raised.sum(-1, keepdim=True)


def reference(adapter: MoaseAdapter, x: Tensor) -> Tensor:
    """The formula of the authors' adapter, entry by entry (E = 4)."""
    C, R, bank = x.shape[-1], adapter.experts.rank, adapter.experts
    a = softmax(x @ adapter.asg.weight.T + adapter.asg.bias)
    top = torch.zeros_like(x)
    top.scatter_(-1, x.argsort(dim=-1, descending=True)[..., : int(0.5 * C)], 1.0)
    r = softmax((x * top) @ adapter.dag.weight.T + adapter.dag.bias)
    y = torch.zeros_like(x)
    for i, v in enumerate((1 / 4, 1 / 2, 1 / 4, 1 / 2)):
        k = int(R * (v + 0.1 * float(a[..., i].detach().mean())))
        h = (x @ bank.down_weight[i].T + bank.down_bias[i]).clamp(min=0)
        low = torch.zeros_like(h).scatter_(-1, h.argsort(dim=-1)[..., :k], 1.0)
        y = y + r[..., i, None] * 0.8 * ((h * low) @ bank.up_weight[i] + bank.up_bias[i])
    return y


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_forward_equals_the_formula(seed: int) -> None:
    adapter = adapter_at("official", 24, rank=192, seed=seed)
    with torch.no_grad():
        # More than half of the units respond, so that the kept ones hold more than zeros.
        adapter.experts.down_bias.add_(0.3)
    x = draw(3, 7, 24, seed=seed + 10)
    torch.testing.assert_close(adapter(x), reference(adapter, x), rtol=1e-5, atol=1e-6)


def test_answer_depends_on_its_batch_mates() -> None:
    # The sparsity gate says expert 1 for the sample and expert 3 for its mate; k is cut from the batch's mean.
    adapter = zero_all(adapter_at("official", 8, rank=40))
    with torch.no_grad():
        adapter.experts.down_weight.copy_(draw(4, 40, 8))
        adapter.experts.up_weight.copy_(draw(4, 40, 8, seed=1))
        adapter.asg.weight[1, 0], adapter.asg.weight[3, 0] = 20, -20
    sample, mate = torch.ones(1, 1, 8), -torch.ones(1, 1, 8)
    pair = torch.cat([sample, mate])
    assert kept_counts(adapter, sample) == [10, 24, 10, 20]
    assert kept_counts(adapter, pair) == [10, 22, 10, 22]
    assert float((adapter(pair)[0] - adapter(sample)[0]).detach().abs().max()) > 0.01


def test_no_more_units_are_kept_than_there_are() -> None:
    adapter = MoaseAdapter(8, experts=2, rank=4, eta=1.0, preset="official")
    with torch.no_grad():
        adapter.asg.bias[0] = 30
    assert kept_counts(adapter, draw(1, 2, 8)) == [4, 2]
    assert adapter(draw(1, 2, 8)).shape == (1, 2, 8)


def by_hand(**changes: float) -> MoaseAdapter:
    """E = 2, R = C = 4: both experts have D = U = 1 and even gates; k = int(4 * (1/2 + 0.1 * 1/2)) = 2."""
    adapter = zero_all(adapter_at("official", 4, experts=2, rank=4))
    with torch.no_grad():
        adapter.experts.down_weight.copy_(torch.eye(4).expand(2, 4, 4))
        adapter.experts.up_weight.copy_(torch.eye(4).expand(2, 4, 4))
    return adapter


def test_every_expert_keeps_the_lowest_units() -> None:
    x = torch.tensor([[[3.0, 1.0, 4.0, 2.0]]])
    both = by_hand()
    assert both(x).flatten().tolist() == pytest.approx([0, 0.8, 0, 1.6])
    # The first expert alone, which the paper has keep the strongest: half of it.
    with torch.no_grad():
        both.experts.up_weight[1].zero_()
    assert both(x).flatten().tolist() == pytest.approx([0, 0.4, 0, 0.8])


def test_mask_is_per_token_over_units() -> None:
    # Over all entries of the sample the four lowest would be the first token's; each token keeps its own two.
    x = torch.tensor([[[3.0, 1.0, 4.0, 2.0], [70.0, 90.0, 80.0, 60.0]]])
    assert by_hand()(x)[0].tolist() == [pytest.approx([0, 0.8, 0, 1.6]), pytest.approx([56, 0, 0, 48])]


def test_lowest_after_a_relu_are_zeros() -> None:
    # By value -5 and -3 are lowest; the ReLU makes them 0, they fill the two places, and nothing is left.
    assert by_hand()(torch.tensor([[[-5.0, 1.0, -3.0, 2.0]]])).tolist() == [[[0, 0, 0, 0]]]


def test_router_reads_the_stronger_half_by_value() -> None:
    adapter = zero_all(by_hand())
    with torch.no_grad():
        adapter.dag.weight[0] = 1
        adapter.experts.up_bias[0] = 1
    # The stronger half of (-4, 0.5, 3, -1) by value is 0.5 and 3: logits (3.5, 0).
    y = adapter(torch.tensor([[[-4.0, 0.5, 3.0, -1.0]]]))
    assert y.flatten().tolist() == pytest.approx([0.8 / (1 + math.exp(-3.5))] * 4)


def test_sparsity_gate_gets_no_gradient() -> None:
    found = gradients(adapter_at("official", 24), draw(2, 3, 24))
    assert not found["asg.weight"].any()
    assert not found["asg.bias"].any()
    assert found["dag.weight"].any()


def test_experts_with_the_small_count_are_dead_on_random_input() -> None:
    adapter = MoaseAdapter(64, rank=192, preset="official", generator=torch.Generator().manual_seed(0))
    found = gradients(adapter, draw(4, 16, 64))
    for name in ("experts.down_weight", "experts.down_bias", "experts.up_weight"):
        alive = [bool(found[name][e].any()) for e in range(4)]
        assert alive == [False, True, False, True], name


def test_start_is_not_an_identity() -> None:
    adapter = MoaseAdapter(64, rank=192, preset="official", generator=torch.Generator().manual_seed(0))
    assert bool(adapter(draw(1, 4, 64)).any())
