from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import ConfigError
from moase_edge.models.split import FrozenBackbone, sidecar_spec, sidecar_state, tensor_specs
from tests.adapt.backbones import CHANNELS, CLASSES, DEPTH, draw, small_vit

TOKENS = 5  # 4 patches and the class token
POOLINGS: dict[str, dict[str, Any]] = {
    "token": {},
    "avg": {"global_pool": "avg"},
    "avg without a class token": {"global_pool": "avg", "class_token": False},
    "map": {"global_pool": "map", "class_token": False},
    "distilled": {"distilled": True},
    "layer scale, registers, no biases": {
        "init_values": 0.5,
        "reg_tokens": 2,
        "qkv_bias": False,
        "proj_bias": False,
    },
}


@torch.no_grad()
def hooked(model: nn.Module, images: Tensor, adapt_blocks: int) -> tuple[Tensor, Tensor, Tensor]:
    """What timm's own forward has after the first adapted block's attention, after that block, and at the end."""
    block = cast(Any, model).blocks[DEPTH - adapt_blocks]
    seen: dict[str, Tensor] = {}
    hooks = [
        # norm2 is given the stream that has the attention branch added, and nothing more.
        block.norm2.register_forward_pre_hook(lambda _, inputs: seen.update(mid=inputs[0])),
        block.register_forward_hook(lambda _, inputs, output: seen.update(out=output)),
    ]
    logits = model(images)
    for hook in hooks:
        hook.remove()
    return seen["mid"], seen["out"], logits


@pytest.mark.parametrize("adapt_blocks", range(1, DEPTH + 1))
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("preset", ["edge", "paper"])
def test_taps_and_answer_equal_those_of_the_unmodified_model(preset: str, pooling: str, adapt_blocks: int) -> None:
    model, images = small_vit(**POOLINGS[pooling]), draw(3, 3, 32, 32)
    mid, out, logits = hooked(model, images, adapt_blocks)
    spec = sidecar_spec(model, MoaseSettings(preset=preset), adapt_blocks)  # type: ignore[arg-type]
    with torch.no_grad():
        taps = FrozenBackbone(model, spec)(images)
    for found, expected in zip(taps, (mid[:, : spec.tap_tokens], out[:, : spec.tap_tokens], logits), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "tapped"), [("token", 1), ("distilled", 2), ("avg", TOKENS), ("map", TOKENS - 1)]
)
def test_last_block_taps_only_the_tokens_that_the_pooling_reads(pooling: str, tapped: int) -> None:
    assert sidecar_spec(small_vit(**POOLINGS[pooling]), MoaseSettings(), 1).tap_tokens == tapped


@pytest.mark.parametrize(("preset", "adapt_blocks"), [("edge", 2), ("paper", 1), ("official", 1)])
def test_deeper_cuts_and_gates_per_sample_tap_all_tokens(preset: str, adapt_blocks: int) -> None:
    spec = sidecar_spec(small_vit(), MoaseSettings(preset=preset), adapt_blocks)  # type: ignore[arg-type]
    assert (spec.tap_tokens, spec.read_tokens) == (TOKENS, 1)


@pytest.mark.parametrize("adapt_blocks", [-1, 0, DEPTH + 1])
def test_adapted_blocks_that_the_backbone_does_not_have_are_refused(adapt_blocks: int) -> None:
    with pytest.raises(ConfigError, match=f"from 1 to {DEPTH}, .*; got {adapt_blocks}"):
        sidecar_spec(small_vit(), MoaseSettings(), adapt_blocks)


def test_a_model_without_a_head_answers_with_its_pooled_features() -> None:
    model, images = small_vit(num_classes=0), draw(2, 3, 32, 32)
    spec = sidecar_spec(model, MoaseSettings(), 1)
    with torch.no_grad():
        answer = FrozenBackbone(model, spec)(images)[2]
        torch.testing.assert_close(answer, model(images), rtol=1e-5, atol=1e-5)
    assert (spec.classes, spec.head_bias) == (0, False)
    assert tensor_specs(spec, 32, 32)[1][2].shape == (None, CHANNELS)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_named_tensors_have_the_shapes_that_are_written_down(pooling: str) -> None:
    model = small_vit(**POOLINGS[pooling])
    spec = sidecar_spec(model, MoaseSettings(), 1)
    inputs, outputs = tensor_specs(spec, 32, 32)
    assert [(entry.name, entry.shape) for entry in inputs] == [("images", (None, 3, 32, 32))]
    with torch.no_grad():
        taps = FrozenBackbone(model, spec)(draw(2, 3, 32, 32))
    assert [entry.name for entry in outputs] == ["mid", "out", "logits"]
    assert [entry.shape[1:] for entry in outputs] == [tuple(tap.shape[1:]) for tap in taps]


def test_weights_of_the_sidecar_are_the_tails_own_and_copies() -> None:
    model = small_vit()
    state = sidecar_state(model, 2)
    last = cast(Any, model).blocks[-1]
    assert torch.equal(state["blocks.0.qkv.weight"], last.attn.qkv.weight)
    assert torch.equal(state["blocks.0.fc2.bias"], last.mlp.fc2.bias)
    assert not any(name.startswith("blocks.1.") for name in state), "the first adapted block stays in the engine"
    assert state["head.weight"].shape == (CLASSES, CHANNELS)
    state["head.weight"].zero_()
    assert cast(Any, model).head.weight.abs().sum() > 0
