"""MoASE inside the blocks of a whole network, as published: the reference for the split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from moase_edge.errors import ConfigError
from moase_edge.moase.adapter import MoaseAdapter


class MoaseBlock(nn.Module):
    """A pre-norm transformer block with an adapter beside its MLP (arXiv 2405.16486, the placement equation).

        x = x + attn(norm1(x))
        x = x + mlp(norm2(x)) + moase(x)

    `block` is anything with timm's names for those parts; LayerScale and drop path are applied where present.
    """

    def __init__(self, block: nn.Module, moase: MoaseAdapter) -> None:
        super().__init__()
        self.block = block
        self.moase = moase

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        block = cast(Any, self.block)
        mid = x + block.drop_path1(block.ls1(block.attn(block.norm1(x))))
        out = mid + block.drop_path2(block.ls2(block.mlp(block.norm2(mid))))
        return cast(Tensor, out + self.moase(mid))


def inject(model: nn.Module, adapters: Sequence[MoaseAdapter]) -> nn.Module:
    """Put one adapter beside the MLP of each of the model's last `len(adapters)` blocks, in place.

    Args:
        model: a vision transformer whose `blocks` can be indexed and assigned.
        adapters: from the first adapted block to the last.

    Returns:
        The same model.

    Raises:
        ConfigError: there are more adapters than blocks.
    """
    blocks = cast(nn.Sequential, model.blocks)
    first = len(blocks) - len(adapters)
    if first < 0:
        raise ConfigError(f"got {len(adapters)} adapters for {len(blocks)} blocks; give one a block at most.")
    for offset, adapter in enumerate(adapters):
        blocks[first + offset] = MoaseBlock(blocks[first + offset], adapter)
    return model
