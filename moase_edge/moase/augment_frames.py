"""Augmented frames, as strong as asked for along three lines: geometry, colour, noise.

Frames are taken as the network is fed: normalised, by an unknown mean and spread. So colours move about the
frame's own mean, bias and noise are in units of the normalisation's spread, and nothing is cut to a range.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# At strength 1, each way, as in the code of MoASE++ (RoyZry98/MoASE-Pytorch @ 67e7947): shifts there are 1/16 of a
# picture padded to twice its size; brightness (here that of a middle grey) and noise are for values of 0..1, which
# ImageNet's spread of 0.225 brings to units of the normalisation.
MAX_ANGLE_DEG = 15.0
MAX_SCALE = 0.1
MAX_SHIFT = 1 / 8
MAX_GAIN = 0.15
MAX_BIAS = 0.2 * 0.5 / 0.225
MAX_SATURATION = 0.25
MAX_NOISE = 0.02 / 0.225


class Strengths(NamedTuple):
    """How strongly frames are augmented, each 0..1; at 0 that part does nothing at all."""

    geometry: float
    colour: float
    noise: float


@torch.no_grad()
def augment_frames(frames: Tensor, strengths: Strengths, generator: torch.Generator) -> Tensor:
    """Turn, scale, shift, recolour and add noise, by amounts drawn for each frame: (B, 3, H, W) to the same.

    Args:
        frames: left as they are.
        strengths: all 0 gives the frames back, bit for bit.
        generator: on the CPU.
    """
    if strengths.geometry:
        frames = _move(frames, strengths.geometry, generator)
    if strengths.colour:
        frames = _recolour(frames, strengths.colour, generator)
    if strengths.noise:
        noise = torch.randn(frames.shape, generator=generator)
        frames = frames + MAX_NOISE * strengths.noise * noise.to(frames)
    return frames


def _move(frames: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    angle, scale, shift_x, shift_y = strength * symmetric(4, len(frames), generator=generator)
    return affine(
        frames,
        angle=math.radians(MAX_ANGLE_DEG) * angle,
        scale=1 + MAX_SCALE * scale,
        shift_x=MAX_SHIFT * shift_x,
        shift_y=MAX_SHIFT * shift_y,
        padding="border",
    )


def _recolour(frames: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    draws = strength * symmetric(3, len(frames), generator=generator).to(frames)
    gain, bias, saturation = draws.view(3, -1, 1, 1, 1).unbind()
    grey = frames.mean(dim=1, keepdim=True)
    frames = grey + (1 + MAX_SATURATION * saturation) * (frames - grey)
    mean = frames.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (1 + MAX_GAIN * gain) * (frames - mean) + MAX_BIAS * bias


def affine(
    images: Tensor, *, angle: Tensor, scale: Tensor, shift_x: Tensor, shift_y: Tensor, padding: str
) -> Tensor:
    """Turn, scale and shift each picture about its centre, bilinearly: (B, 3, H, W) to the same.

    Args:
        angle: (B,) radians.
        scale: (B,), above 1 enlarges what is seen.
        shift_x, shift_y: (B,), share of the width and height by which one looks further to the right and down.
        padding: what lies outside: "zeros" or "border".
    """
    _, _, height, width = images.shape
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    aspect = height / width
    # The sampling grid spans -1..1, so a shift by the whole width is 2.
    rows = [
        torch.stack([cos, -sin * aspect, 2 * shift_x], dim=1),
        torch.stack([sin / aspect, cos, 2 * shift_y], dim=1),
    ]
    theta = torch.stack(rows, dim=1).to(images)  # B x 2 x 3
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved: Tensor = F.grid_sample(images, grid, padding_mode=padding, align_corners=False)
    return moved


def symmetric(*shape: int, generator: torch.Generator) -> Tensor:
    """Numbers drawn uniformly from -1 to 1."""
    return 2 * torch.rand(shape, generator=generator) - 1
