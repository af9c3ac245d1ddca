"""Engine and sidecar together against timm's own models, plain and with MoASE inside their blocks."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, cast

import pytest
import torch
from timm.layers import GELUTanh, QuickGELU
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.moase.adapter import MoaseAdapter, adapters_of
from moase_edge.moase.inject import inject
from moase_edge.moase.objectives import Views
from moase_edge.models.accept import refuse_unsupported
from moase_edge.models.split import FrozenBackbone
from tests.adapt.backbones import CHANNELS, DEPTH, draw, sidecar_of, small_vit

IMAGES = draw(2, 3, 32, 32, seed=5)
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layer-scale": {"init_values": 0.5},
    "no-qkv-bias": {"qkv_bias": False},
    "no-proj-bias": {"proj_bias": False},
    "pre-norm": {"pre_norm": True},
    "norm-eps": {"norm_layer": partial(nn.LayerNorm, eps=0.1)},
    "registers": {"reg_tokens": 3, "no_embed_class": True},
    "distilled": {"distilled": True},
    "distilled-no-head": {"distilled": True, "num_classes": 0},
    "avg": {"global_pool": "avg"},
    "avg-registers": {"global_pool": "avg", "reg_tokens": 2},
    "avg-with-prefix": {"global_pool": "avg", "pool_include_prefix": True},
    "avg-no-class-token": {"global_pool": "avg", "class_token": False},
    "avg-normed-before": {"global_pool": "avg", "fc_norm": False},
    "max": {"global_pool": "max"},
    "avgmax": {"global_pool": "avgmax", "reg_tokens": 1},
    "map": {"global_pool": "map"},
    "map-with-prefix": {"global_pool": "map", "pool_include_prefix": True},
    "map-quick-gelu": {"global_pool": "map", "class_token": False, "act_layer": QuickGELU},
    "map-no-head": {"global_pool": "map", "num_classes": 0},
    "token-fc-norm": {"fc_norm": True},
    "no-final-norm": {"final_norm": False},
    "avg-no-final-norm": {"global_pool": "avg", "final_norm": False},
    "quick-gelu": {"act_layer": QuickGELU},
    "gelu-tanh": {"act_layer": GELUTanh},
    "torch-gelu-tanh": {"act_layer": partial(nn.GELU, approximate="tanh")},
    "relu": {"act_layer": nn.ReLU},
    "silu": {"act_layer": nn.SiLU},
    "no-head": {"num_classes": 0},
}
BLOCKS = (1, 2, DEPTH)


def taps_and_logits(model: nn.Module, sidecar: Sidecar, images: Tensor = IMAGES) -> tuple[Taps, Tensor]:
    with torch.no_grad():
        mid, out, logits = FrozenBackbone(model, sidecar.spec)(images)
    return Taps(mid, out), logits


def in_block(model: nn.Module, sidecar: Sidecar) -> nn.Module:
    """A copy of the model with copies of the sidecar's adapters inside its blocks."""
    adapters = [cast(MoaseAdapter, copy.deepcopy(adapter)) for adapter in sidecar.adapters]
    return inject(copy.deepcopy(model), adapters)


@torch.no_grad()
def whole(model: Any, images: Tensor = IMAGES) -> Views:
    """A whole model's logits, and the features that its head reads."""
    tokens = model.forward_features(images)
    return Views(logits=model.forward_head(tokens), features=model.forward_head(tokens, pre_logits=True))


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_split_equals_the_whole_model(variant: str, blocks: int) -> None:
    model = small_vit(**VARIANTS[variant])
    refuse_unsupported(model, variant)
    start = sidecar_of(model, blocks)
    taps, frozen_logits = taps_and_logits(model, start)
    plain = whole(model)
    close(frozen_logits, plain.logits)
    close(start(taps).logits, plain.logits)
    close(start(taps).features, plain.features)
    adapted = sidecar_of(model, blocks, perturbed=True)
    expected = whole(in_block(model, adapted))
    close(adapted(taps).logits, expected.logits)
    close(adapted(taps).features, expected.features)
    assert float((expected.logits - plain.logits).abs().max()) > 1e-2


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize("variant", ["plain", "avg-registers", "distilled"])
def test_split_with_the_published_adapters_equals_the_whole_model(variant: str, preset: str, blocks: int) -> None:
    model = small_vit(**VARIANTS[variant])
    adapted = sidecar_of(model, blocks, preset=preset, rank=24, perturbed=True)
    taps, _ = taps_and_logits(model, adapted)
    close(adapted(taps).logits, whole(in_block(model, adapted)).logits)


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("variant", ["plain", "layer-scale", "avg", "map"])
def test_gradients_of_the_adapters_equal_those_of_the_whole_model(variant: str, blocks: int) -> None:
    model = small_vit(**VARIANTS[variant])
    adapted = sidecar_of(model, blocks, perturbed=True)
    reference = in_block(model, adapted)
    taps, _ = taps_and_logits(model, adapted)
    labels = torch.tensor([1, 3])
    found, expected = (
        torch.autograd.grad(F.cross_entropy(logits, labels), weights)
        for logits, weights in (
            (with_gradient(adapted)(taps).logits, adapter_weights(adapted)),
            (with_gradient(reference)(IMAGES), adapter_weights(reference)),
        )
    )
    for one, other in zip(found, expected, strict=True):
        close(one, other)
        assert bool(one.any())


def adapter_weights(module: nn.Module) -> list[nn.Parameter]:
    return [weight for adapter in adapters_of(module) for weight in adapter.parameters()]


def with_gradient(module: nn.Module) -> nn.Module:
    for weight in adapter_weights(module):
        weight.requires_grad_(True)
    return module


@pytest.mark.parametrize(
    ("variant", "preset", "blocks", "tokens"),
    [
        ("plain", "edge", 1, 1),
        ("registers", "edge", 1, 1),
        ("distilled", "edge", 1, 2),
        ("avg", "edge", 1, 5),
        ("map", "edge", 1, 5),
        ("plain", "paper", 1, 5),
        ("plain", "edge", 2, 5),
    ],
)
def test_taps_carry_the_tokens_that_are_read(variant: str, preset: str, blocks: int, tokens: int) -> None:
    model = small_vit(**VARIANTS[variant])
    sidecar = sidecar_of(model, blocks, preset=preset)
    taps, _ = taps_and_logits(model, sidecar)
    assert taps.mid.shape == taps.out.shape == (2, tokens, CHANNELS)


def test_answer_of_a_frame_depends_on_no_batch_mate() -> None:
    model = small_vit()
    adapted = sidecar_of(model, 2, perturbed=True)
    taps, _ = taps_and_logits(model, adapted)
    close(adapted(Taps(taps.mid[1:], taps.out[1:])).logits[0], adapted(taps).logits[1], 1e-6)


@pytest.mark.parametrize(("variant", "heads"), [("plain", 1), ("distilled", 2), ("map", 1), ("avg-registers", 1)])
def test_answer_is_the_classified_head_inputs_bit_for_bit(variant: str, heads: int) -> None:
    adapted = sidecar_of(small_vit(**VARIANTS[variant]), perturbed=True)
    views = adapted(taps_and_logits(small_vit(**VARIANTS[variant]), adapted)[0])
    assert views.pooled is not None
    assert views.pooled.shape == (2, heads, CHANNELS)
    assert torch.equal(views.features, views.pooled.mean(dim=1))
    again = adapted.classify(views.pooled.clone())
    assert torch.equal(again.logits, views.logits)
    assert torch.equal(again.features, views.features)


def test_each_head_of_a_distilled_network_reads_its_own_token() -> None:
    adapted = sidecar_of(small_vit(distilled=True))
    tokens = draw(2, 3, CHANNELS)
    inputs = adapted.head_inputs(tokens)
    assert torch.equal(inputs, tokens[:, :2])
    assert adapted.head_dist is not None
    expected = 0.5 * (adapted.head(tokens[:, 0]) + adapted.head_dist(tokens[:, 1]))
    assert torch.equal(adapted.classify(inputs).logits, expected)
    # Moving the second head's input alone moves the answer by half of what that head makes of it.
    moved = inputs.clone()
    moved[:, 1] = 0
    change = adapted.classify(inputs).logits - adapted.classify(moved).logits
    close(change, 0.5 * (adapted.head_dist(tokens[:, 1]) - adapted.head_dist(0 * tokens[:, 1])))


def test_head_inputs_of_attention_pooling_come_after_it() -> None:
    adapted = sidecar_of(small_vit(**VARIANTS["map"]))
    assert adapted.pool is not None
    tokens = draw(2, 5, CHANNELS)
    assert torch.equal(adapted.head_inputs(tokens)[:, 0], adapted.fc_norm(adapted.pool(tokens[:, 1:])))
    # The class token is no part of it.
    other = torch.cat([draw(2, 1, CHANNELS, seed=9), tokens[:, 1:]], dim=1)
    assert torch.equal(adapted.head_inputs(other), adapted.head_inputs(tokens))
