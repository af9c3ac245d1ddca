"""Parts of the tail, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from moase_edge.adapt.tail import TailBlock, pool_tokens, quick_gelu
from moase_edge.moase.adapter import MoaseAdapter
from tests.adapt.backbones import draw, fill, sidecar_of, small_vit


def test_quick_gelu_by_hand() -> None:
    values = quick_gelu(torch.tensor([-1.0, 0.0, 2.0])).tolist()
    assert values == pytest.approx([-1 / (1 + math.exp(1.702)), 0, 2 / (1 + math.exp(-3.404))])


@pytest.mark.parametrize(
    ("pooling", "prefix", "expected"),
    [
        ("token", False, [9, 9]),
        ("avg", False, [2, -1]),
        ("max", False, [3, 0]),
        ("avgmax", False, [2.5, -0.5]),
        ("avg", True, [13 / 3, 7 / 3]),
        ("max", True, [9, 9]),
    ],
)
def test_pooling_by_hand(pooling: str, prefix: bool, expected: list[float]) -> None:
    spec = sidecar_of(small_vit()).spec.model_copy(update={"pooling": pooling, "pool_prefix": prefix})
    tokens = torch.tensor([[[9.0, 9.0], [1.0, -2.0], [3.0, 0.0]]])
    assert pool_tokens(tokens, spec)[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("queries", [1, 3])
def test_first_tokens_of_a_block_equal_those_of_the_whole_block(queries: int) -> None:
    block = TailBlock(sidecar_of(small_vit(init_values=0.5)).spec)
    adapter = MoaseAdapter(32, rank=8)
    fill(block, seed=0)
    fill(adapter, seed=1)
    x = draw(2, 6, 32)
    part, every = block(x, adapter, queries), block(x, adapter, 6)
    assert part.shape == (2, queries, 32)
    torch.testing.assert_close(part, every[:, :queries], rtol=1e-5, atol=1e-5)
