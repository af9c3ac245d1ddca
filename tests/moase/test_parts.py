"""What is left out of an adapter is left out: its mask, its gates."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from moase_edge.config.names import MoasePart
from moase_edge.errors import ConfigError
from moase_edge.moase.adapter import PARTS
from moase_edge.moase.official import kept_counts
from moase_edge.moase.sdd import quantiles
from tests.moase.adapters import adapter_at, draw, expert_by_expert, gradients

PRESETS = ("edge", "paper", "official")


def test_parts_in_settings_are_those_of_the_adapter() -> None:
    assert get_args(MoasePart) == tuple(PARTS)


def test_an_unknown_part_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="sdd, dag, asg"):
        adapter_at("edge", 8, without=("hp",))


@pytest.mark.parametrize("preset", ["edge", "paper"])
def test_without_every_part_it_is_a_plain_mixture_of_bottlenecks(preset: str) -> None:
    adapter = adapter_at(preset, 12, rank=8, without=("sdd", "dag", "asg"))
    x = draw(2, 3, 12)
    route = F.softmax(x @ adapter.dag.weight.T, dim=-1)
    expected = expert_by_expert(adapter, x, lambda _, pre: torch.ones_like(pre), route)
    torch.testing.assert_close(adapter(x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("part", PARTS)
def test_each_part_changes_the_answer(preset: str, part: str) -> None:
    x = draw(2, 3, 12)
    with_all, without = (adapter_at(preset, 12, rank=8, eta=0.6, without=parts)(x) for parts in ((), (part,)))
    assert not torch.allclose(with_all, without, atol=1e-4)


def test_without_its_gate_the_threshold_stays() -> None:
    adapter = adapter_at("edge", 12, rank=8, without=("asg",))
    x = draw(1, 1, 12)

    def mask_of(e: int, pre: Tensor) -> Tensor:
        mask = torch.zeros_like(pre)
        order = pre[0, 0].abs().argsort(descending=e < 2)
        # A quarter and half of eight units.
        mask[0, 0, order[: (2, 4, 2, 4)[e]]] = 1
        return mask

    route = F.softmax(adapter.dag(x * (x.abs() <= x.abs().sort().values[..., 5:6])), dim=-1)
    torch.testing.assert_close(adapter(x), expert_by_expert(adapter, x, mask_of, route), rtol=1e-6, atol=1e-6)
    assert gradients(adapter, x)["asg.weight"].abs().max() == 0


def test_the_authors_counts_without_mask_or_gate() -> None:
    x = draw(1, 2, 12)
    assert kept_counts(adapter_at("official", 12, rank=8, without=("sdd",)), x) == [8] * 4
    assert kept_counts(adapter_at("official", 12, rank=8, eta=1.0, without=("asg",)), x) == [2, 4, 2, 4]


def test_what_the_least_sparse_expert_keeps_can_be_set() -> None:
    assert quantiles(4, share=1.0).tolist() == [0.5, 1.0, 0.5, 1.0]
    assert quantiles(4, share=0.25).tolist() == [0.125, 0.25, 0.125, 0.25]
    masked, whole = (adapter_at("edge", 12, experts=2, rank=8, eta=0, sdd_share=share) for share in (0.5, 1.0))
    plain = adapter_at("edge", 12, experts=2, rank=8, eta=0, without=("sdd",))
    x = draw(2, 3, 12)
    torch.testing.assert_close(whole(x), plain(x))
    assert not math.isclose(float(masked(x).sum().detach()), float(plain(x).sum().detach()), abs_tol=1e-4)
