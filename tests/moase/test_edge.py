"""The `edge` preset."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.moase.adapters import adapter_at, draw, expert_by_expert, gradients, weaker_half, zero_all

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("experts", "rank"), [(2, 8), (4, 48), (8, 8)])
def test_fused_forward_equals_a_loop_over_experts_and_tokens(experts: int, rank: int, seed: int) -> None:
    adapter = adapter_at("edge", 12, experts=experts, rank=rank, seed=seed)
    x = draw(2, 3, 12, seed=seed + 10)
    shift = F.softmax(adapter.asg(x), dim=-1)
    route = F.softmax(torch.stack([adapter.dag(weaker_half(row)) for row in x.reshape(-1, 12)]), dim=-1)

    def mask_of(e: int, pre: Tensor) -> Tensor:
        share = (e % (experts // 2) + 1) / experts
        mask = torch.zeros_like(pre)
        for b in range(2):
            for n in range(3):
                count = math.floor(rank * (share + 0.1 * float(shift[b, n, e].detach())))
                order = pre[b, n].abs().argsort(descending=e < experts // 2)
                mask[b, n, order[:count]] = 1
        return mask

    expected = expert_by_expert(adapter, x, mask_of, route.reshape(2, 3, experts))
    torch.testing.assert_close(adapter(x), expected, rtol=1e-6, atol=1e-6)


def test_answer_of_a_token_depends_on_no_other_token_and_no_batch_mate() -> None:
    adapter = adapter_at("edge", 32)
    x = draw(4, 5, 32)
    together = adapter(x)
    alone = adapter(x[1:2, 3:4])
    torch.testing.assert_close(alone[0, 0], together[1, 3], rtol=0, atol=1e-6)
    other = 10 * draw(4, 5, 32, seed=1)
    other[1, 3] = x[1, 3]
    torch.testing.assert_close(adapter(other)[1, 3], together[1, 3], rtol=0, atol=1e-6)


def test_router_reads_the_weaker_half_by_magnitude() -> None:
    # D, d, U are zero, so the output is the sum of the up biases, weighted by the routing weights.
    adapter = zero_all(adapter_at("edge", 4, experts=2, rank=2))
    with torch.no_grad():
        adapter.dag.weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]))
        adapter.experts.up_bias[0] = 1
    # Weaker half of (-4, 0.5, 3, -1) by magnitude is 0.5 and -1: logits (-0.5, 0).
    y = adapter(torch.tensor([[[-4.0, 0.5, 3.0, -1.0]]]))
    assert y.flatten().tolist() == pytest.approx([1 / (1 + math.exp(0.5))] * 4)


def test_first_expert_keeps_the_strong_units_and_second_the_weak_ones_by_hand() -> None:
    adapter = zero_all(adapter_at("edge", 4, experts=2, rank=4))
    with torch.no_grad():
        adapter.experts.down_weight.copy_(torch.eye(4).expand(2, 4, 4))
        adapter.experts.up_weight.copy_(torch.eye(4).expand(2, 4, 4))
    # K = floor(4 * (1/2 + 0.1 * 1/2)) = 2 of the pre-activations, which are x itself; both gates are even.
    x = torch.tensor([-4.0, 0.5, 3.0, -1.0])
    gelu = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    # The strong pair goes through expert 0, the weak pair through expert 1, each at half weight.
    assert adapter(x.view(1, 1, 4)).flatten().tolist() == pytest.approx([0.5 * g for g in gelu], abs=1e-6)
    with torch.no_grad():
        adapter.experts.up_weight[1].zero_()
    strong = [0.5 * gelu[0], 0, 0.5 * gelu[2], 0]
    assert adapter(x.view(1, 1, 4)).flatten().tolist() == pytest.approx(strong, abs=1e-6)


def test_sparsity_gate_moves_the_number_of_kept_units() -> None:
    adapter = zero_all(adapter_at("edge", 4, experts=2, rank=20))
    with torch.no_grad():
        adapter.experts.down_weight.copy_(draw(2, 20, 4))
        adapter.experts.up_weight.fill_(1)
        adapter.experts.up_weight[1].zero_()
    x = draw(1, 1, 4, seed=1)
    pre = adapter.experts.project_down(x)[0, 0, 0].detach()
    strongest_first = F.gelu(pre[pre.abs().argsort(descending=True)])
    # q = 1/2 keeps 10 of 20; a gate that is all on this expert adds eta = 0.1 of them.
    for bias, count in ((-20.0, 10), (20.0, 12)):
        with torch.no_grad():
            adapter.asg.bias[0] = bias
            assert float(adapter(x)[0, 0, 0]) == pytest.approx(float(strongest_first[:count].sum() / 2), rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_token_equals_the_paper_with_all_gradients_but_the_sparsity_gates(seed: int) -> None:
    edge, paper = (adapter_at(preset, 24, seed=seed) for preset in ("edge", "paper"))
    x = draw(5, 1, 24, seed=seed + 50)
    torch.testing.assert_close(edge(x), paper(x), rtol=1e-6, atol=1e-6)
    of_edge, of_paper = gradients(edge, x), gradients(paper, x)
    for name in of_edge:
        if name.startswith("asg"):
            assert bool(of_edge[name].any())
            assert not bool(of_paper[name].any())
        else:
            torch.testing.assert_close(of_edge[name], of_paper[name], rtol=1e-5, atol=1e-6)


def test_gradients_match_finite_differences_away_from_thresholds() -> None:
    # In double precision a step of 1e-6 crosses no threshold; the gates' straight-through part is left out.
    adapter = adapter_at("edge", 4, experts=2, rank=4, eta=0.0).double()
    x = draw(1, 2, 4).double()
    for name in ("down_weight", "down_bias", "up_weight", "up_bias"):
        weight = adapter.experts.get_parameter(name)

        def forward(value: Tensor, name: str = name) -> Tensor:
            parameters = {f"experts.{name}": value}
            result: Tensor = torch.func.functional_call(adapter, parameters, (x,))
            return result

        assert torch.autograd.gradcheck(forward, (weight.detach().clone().requires_grad_(),))
