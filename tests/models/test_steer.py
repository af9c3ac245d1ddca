"""A backbone that takes a shift at every block and returns token means."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from moase_edge.config.moase import MoaseSettings
from moase_edge.models.split import FrozenBackbone, sidecar_spec, tensor_specs
from moase_edge.models.steer import SteerableBackbone, cut
from tests.adapt.backbones import CHANNELS, DEPTH, draw, small_vit
from tests.models.test_split import POOLINGS, hooked

Steered = tuple[Tensor, Tensor, Tensor, Tensor]


@torch.no_grad()
def steered(shift: Tensor, adapt_blocks: int = 1, *, preset: str = "edge", **options: Any) -> Steered:
    """What a small backbone returns for the same two pictures."""
    model = small_vit(**options)
    spec = sidecar_spec(model, MoaseSettings(preset=preset), adapt_blocks)  # type: ignore[arg-type]
    found: Steered = SteerableBackbone(model, spec)(draw(2, 3, 32, 32), shift)
    return found


def at_block(index: int, value: Tensor | float) -> Tensor:
    """A shift of one block alone."""
    shift = torch.zeros(2, DEPTH, CHANNELS)
    shift[:, index] = value
    return shift


@pytest.mark.parametrize("adapt_blocks", range(1, DEPTH + 1))
@pytest.mark.parametrize("pooling", POOLINGS)
def test_zeros_give_the_answer_of_the_backbone_that_cannot_be_steered(pooling: str, adapt_blocks: int) -> None:
    model, images = small_vit(**POOLINGS[pooling]), draw(2, 3, 32, 32)
    spec = sidecar_spec(model, MoaseSettings(), adapt_blocks)
    with torch.no_grad():
        expected = FrozenBackbone(model, spec)(images)
        found = SteerableBackbone(model, spec)(images, torch.zeros(2, DEPTH, CHANNELS))
    for one, other in zip(found, expected, strict=False):
        assert torch.equal(one, other)


@pytest.mark.parametrize("adapt_blocks", range(1, DEPTH + 1))
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("preset", ["edge", "paper"])
def test_a_shift_does_what_it_does_in_the_blocks_of_the_whole_model(
    preset: str, pooling: str, adapt_blocks: int
) -> None:
    model, images, shift = small_vit(**POOLINGS[pooling]), draw(2, 3, 32, 32), draw(2, DEPTH, CHANNELS, seed=7)
    spec = sidecar_spec(model, MoaseSettings(preset=preset), adapt_blocks)  # type: ignore[arg-type]
    entered: list[Tensor] = []

    def add(index: int, inputs: tuple[Tensor]) -> Tensor:
        entered.append(inputs[0])
        patch = (torch.arange(inputs[0].shape[1]) >= spec.prefix_tokens).float()
        return inputs[0] + shift[:, index, None] * patch[:, None]

    for index, block in enumerate(cast(Any, model).blocks):
        block.register_forward_pre_hook(lambda _, inputs, index=index: add(index, inputs))
    mid, out, logits = hooked(model, images, adapt_blocks)
    plain = small_vit(**POOLINGS[pooling])
    with torch.no_grad():
        found = SteerableBackbone(plain, spec)(images, shift)
        means = torch.stack([x[:, spec.prefix_tokens :].mean(1) for x in entered], dim=1)
    expected = (mid[:, : spec.tap_tokens], out[:, : spec.tap_tokens], logits, means)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_the_first_mean_is_that_of_the_embedded_patches_and_no_shift_is_in_it() -> None:
    model = cast(Any, small_vit())
    with torch.no_grad():
        embedded = model.patch_embed(draw(2, 3, 32, 32)) + model.pos_embed[:, 1:]
    means = steered(at_block(0, 3.0))[3]
    torch.testing.assert_close(means[:, 0], embedded.mean(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", range(DEPTH))
def test_a_shift_reaches_the_means_of_later_blocks_alone(block: int) -> None:
    before, after = steered(at_block(0, 0.0))[3], steered(at_block(block, draw(CHANNELS)))[3]
    assert [torch.equal(before[:, index], after[:, index]) for index in range(DEPTH)] == [
        index <= block for index in range(DEPTH)
    ]


def test_one_number_for_all_channels_is_lost_in_the_norm_and_moves_the_patches_by_itself_alone() -> None:
    """Of the last block: attention and MLP see normed tokens, so the residual stream alone has it."""
    plain, moved = (steered(at_block(-1, value), preset="paper")[0] for value in (0.0, 2.0))
    torch.testing.assert_close(moved[:, 1:], plain[:, 1:] + 2.0, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved[:, :1], plain[:, :1], rtol=1e-4, atol=1e-4)


def test_the_last_blocks_shift_reaches_a_class_token_that_alone_has_a_query() -> None:
    plain, moved = (steered(at_block(-1, value)) for value in (torch.zeros(CHANNELS), draw(CHANNELS)))
    assert plain[0].shape[1] == 1
    assert (plain[2] - moved[2]).abs().max() > 1e-2


def test_frames_of_a_batch_are_steered_each_by_its_own_shift() -> None:
    shift = draw(2, DEPTH, CHANNELS)
    shift[0] = 0
    plain, found = steered(torch.zeros(2, DEPTH, CHANNELS)), steered(shift)
    torch.testing.assert_close(found[2][0], plain[2][0])
    assert (found[2][1] - plain[2][1]).abs().max() > 1e-2


@pytest.mark.parametrize("pooling", POOLINGS)
def test_named_tensors_have_the_shapes_that_are_written_down(pooling: str) -> None:
    model = small_vit(**POOLINGS[pooling])
    spec = sidecar_spec(model, MoaseSettings(), 1)
    inputs, outputs = tensor_specs(spec, 32, 32, steer=True)
    assert [(entry.name, entry.shape[1:]) for entry in inputs] == [
        ("images", (3, 32, 32)),
        ("shift", (DEPTH, CHANNELS)),
    ]
    with torch.no_grad():
        values = cut(model, spec, steer=True)(draw(2, 3, 32, 32), torch.zeros(2, DEPTH, CHANNELS))
    assert [entry.name for entry in outputs] == ["mid", "out", "logits", "token_means"]
    assert [entry.shape[1:] for entry in outputs] == [tuple(value.shape[1:]) for value in values]
