"""The `paper` preset."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.moase.adapters import adapter_at, draw, expert_by_expert, weaker_half


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("experts", "rank"), [(2, 8), (4, 48), (8, 8)])
def test_forward_equals_the_equations_sample_by_sample(experts: int, rank: int, seed: int) -> None:
    adapter = adapter_at("paper", 12, experts=experts, rank=rank, seed=seed)
    x = draw(2, 5, 12, seed=seed + 10)
    shift = F.softmax(adapter.asg(x), dim=-1).mean(dim=1)
    weaker = torch.stack([weaker_half(sample.flatten()).view(5, 12) for sample in x])
    route = F.softmax(adapter.dag(weaker), dim=-1)

    def mask_of(e: int, pre: Tensor) -> Tensor:
        share = (e % (experts // 2) + 1) / experts
        mask = torch.zeros(2, 5 * rank)
        for b in range(2):
            count = math.floor(5 * rank * (share + 0.1 * float(shift[b, e].detach())))
            order = pre[b].flatten().abs().argsort(descending=e < experts // 2)
            mask[b, order[:count]] = 1
        return mask.view_as(pre)

    expected = expert_by_expert(adapter, x, mask_of, route)
    torch.testing.assert_close(adapter(x), expected, rtol=1e-6, atol=1e-6)


def test_answer_depends_on_no_batch_mate() -> None:
    adapter = adapter_at("paper", 32)
    x = draw(4, 5, 32)
    alone, together = adapter(x[2:3]), adapter(torch.cat([10 * x[:2], x[2:]]))
    torch.testing.assert_close(alone[0], together[2], rtol=0, atol=1e-6)


def test_answer_of_a_token_depends_on_the_other_tokens() -> None:
    adapter = adapter_at("paper", 32)
    x = draw(1, 5, 32)
    other = torch.cat([x[:, :1], 5 * x[:, 1:]], dim=1)
    assert float((adapter(x)[0, 0] - adapter(other)[0, 0]).detach().abs().max()) > 0.1
