"""Augmented frames."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moase_edge.moase import augment_frames as module
from moase_edge.moase.augment_frames import MAX_BIAS, MAX_GAIN, MAX_NOISE, Strengths, affine, augment_frames
from tests.moase.adapters import draw

NOTHING = Strengths(0.0, 0.0, 0.0)
GEOMETRY, COLOUR, NOISE = Strengths(1.0, 0.0, 0.0), Strengths(0.0, 1.0, 0.0), Strengths(0.0, 0.0, 1.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moved(image: Tensor, *, angle: float = 0.0, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """One picture, shifted along its width."""
    angles, scales, shifts, none = torch.tensor([[angle], [scale], [shift], [0.0]])
    return affine(image, angle=angles, scale=scales, shift_x=shifts, shift_y=none, padding="zeros")


def test_strengths_of_zero_give_the_frames_back_bit_for_bit() -> None:
    frames = draw(3, 3, 8, 6)
    assert torch.equal(augment_frames(frames, NOTHING, generator()), frames)


@pytest.mark.parametrize("strengths", [GEOMETRY, COLOUR, NOISE])
def test_each_strength_alone_changes_the_frames_and_leaves_those_it_was_given(strengths: Strengths) -> None:
    frames = draw(2, 3, 8, 6)
    before = frames.clone()
    seen = augment_frames(frames, strengths, generator())
    assert seen.shape == frames.shape
    assert seen.dtype == frames.dtype
    assert not torch.allclose(seen, frames, atol=1e-3)
    assert torch.equal(frames, before)


@pytest.mark.parametrize("strengths", [GEOMETRY, COLOUR, NOISE])
def test_frames_differ_in_one_batch_and_a_seed_repeats_them(strengths: Strengths) -> None:
    frames = draw(1, 3, 8, 6).expand(2, -1, -1, -1)
    state = torch.get_rng_state()
    seen = augment_frames(frames, strengths, generator(1))
    assert torch.equal(augment_frames(frames, strengths, generator(1)), seen)
    assert not torch.equal(augment_frames(frames, strengths, generator(2)), seen)
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("line", range(3))
def test_a_weaker_strength_changes_less(line: int) -> None:
    # Smooth frames, so that a pixel's neighbour is like itself; the same draws for both strengths.
    ramp = torch.linspace(-1, 1, 16)
    frames = (ramp.view(1, 16, 1) + ramp.view(16, 1, 1) * torch.tensor([1.0, -0.5, 0.2])).permute(2, 0, 1)[None]
    weak, strong = (
        float((augment_frames(frames, Strengths(*strengths), generator()) - frames).square().mean())
        for strengths in ([value if index == line else 0.0 for index in range(3)] for value in (0.1, 1.0))
    )
    assert 0 < weak < 0.1 * strong


def test_a_frame_of_one_colour_keeps_its_edges_when_moved() -> None:
    frames = torch.full((4, 3, 8, 8), 0.7)
    assert torch.allclose(augment_frames(frames, GEOMETRY, generator()), frames, atol=1e-6)


def test_colours_of_a_frame_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Gain and bias at their bounds, saturation unchanged. Two grey pixels, -1 and 3: the mean is 1.
    draws = torch.tensor([[1.0], [-1.0], [0.0]])
    monkeypatch.setattr(module, "symmetric", lambda *shape, generator: draws)
    frames = torch.tensor([-1.0, 3.0]).expand(1, 3, 1, 2)
    expected = [1 - (1 + MAX_GAIN) * 2 - MAX_BIAS, 1 + (1 + MAX_GAIN) * 2 - MAX_BIAS]
    for channel in augment_frames(frames, COLOUR, generator())[0]:
        assert channel.flatten().tolist() == pytest.approx(expected)


def test_saturation_moves_channels_about_their_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SATURATION", 1.0)
    monkeypatch.setattr(module, "symmetric", lambda *shape, generator: torch.tensor([[0.0], [0.0], [-1.0]]))
    frames = torch.tensor([0.0, 1.0, 5.0]).view(1, 3, 1, 1)
    assert augment_frames(frames, COLOUR, generator()).flatten().tolist() == pytest.approx([2.0, 2.0, 2.0])


def test_noise_has_its_spread() -> None:
    frames = torch.zeros(2, 3, 64, 64)
    seen = augment_frames(frames, Strengths(0.0, 0.0, 0.5), generator())
    assert float(seen.std()) == pytest.approx(0.5 * MAX_NOISE, rel=0.02)
    assert abs(float(seen.mean())) < 0.002


def test_shift_by_a_quarter_of_the_width_moves_two_columns_of_eight() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 3, 5] = 1
    expected = torch.zeros(1, 3, 8, 8)
    expected[..., 3, 3] = 1
    torch.testing.assert_close(moved(image, shift=0.25), expected, atol=1e-5, rtol=0)


def test_turn_by_a_quarter_and_a_scale_about_the_centre() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 0, 2] = 1
    turned = torch.zeros(1, 3, 8, 8)
    turned[..., 5, 0] = 1
    torch.testing.assert_close(moved(image, angle=math.pi / 2), turned, atol=1e-5, rtol=0)
    square = torch.zeros(1, 3, 32, 32)
    square[..., 8:24, 8:24] = 1
    assert math.sqrt(float(moved(square, scale=1.5)[0, 0].sum())) == pytest.approx(24, abs=1)
