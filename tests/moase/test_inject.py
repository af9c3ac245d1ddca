"""MoASE inside the blocks of a whole network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from moase_edge.errors import ConfigError
from moase_edge.moase.adapter import MoaseAdapter, adapters_of
from moase_edge.moase.inject import MoaseBlock, inject
from tests.moase.adapters import adapter_at, draw

DEPTH = 3


def small_vit(**options: Any) -> VisionTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VisionTransformer(
            img_size=32, patch_size=16, embed_dim=32, depth=DEPTH, num_heads=2, num_classes=5, **options
        )
    return model.eval()


def at_start(count: int) -> list[MoaseAdapter]:
    return [MoaseAdapter(32, rank=8, generator=torch.Generator().manual_seed(i)) for i in range(count)]


@torch.no_grad()
def answer(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(images)
    return logits


@pytest.mark.parametrize(
    "options", [{}, {"init_values": 0.3, "drop_path_rate": 0.2}], ids=["plain", "layer-scale"]
)
@pytest.mark.parametrize("count", [1, 2, DEPTH])
def test_network_with_adapters_at_their_start_answers_bit_for_bit_as_the_plain_one(
    count: int, options: dict[str, Any]
) -> None:
    images = draw(3, 3, 32, 32)
    plain = answer(small_vit(**options), images)
    assert torch.equal(answer(inject(small_vit(**options), at_start(count)), images), plain)


@pytest.mark.parametrize("count", [1, 2, DEPTH])
def test_last_blocks_alone_are_adapted_and_in_order(count: int) -> None:
    adapters = at_start(count)
    model = inject(small_vit(), adapters)
    adapted = [isinstance(block, MoaseBlock) for block in model.blocks]  # type: ignore[union-attr]
    assert adapted == [False] * (DEPTH - count) + [True] * count
    assert list(adapters_of(model)) == adapters


def test_adapter_reads_the_stream_after_attention_and_is_added_to_the_block() -> None:
    model, adapter, images = small_vit(), adapter_at("edge", 32, rank=8), draw(2, 3, 32, 32)
    seen: dict[str, torch.Tensor] = {}
    block = model.blocks[-1]
    block.norm2.register_forward_pre_hook(lambda _module, inputs: seen.update(mid=inputs[0]))
    block.register_forward_hook(lambda _module, _inputs, output: seen.update(out=output))
    answer(model, images)
    mid, out = seen["mid"], seen["out"]
    inject(model, [adapter]).blocks[-1].register_forward_hook(  # type: ignore[index, union-attr]
        lambda _module, _inputs, output: seen.update(adapted=output)
    )
    answer(model, images)
    torch.testing.assert_close(seen["adapted"], out + adapter(mid).detach(), rtol=0, atol=1e-6)


def test_more_adapters_than_blocks_are_refused() -> None:
    with pytest.raises(ConfigError, match="4 adapters for 3 blocks"):
        inject(small_vit(), at_start(DEPTH + 1))
