"""Light geometric and contrast augmentation of a batch, drawn from a generator that is passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moase_edge.errors import ConfigError
from moase_edge.moase.augment_frames import affine, symmetric


@dataclass(frozen=True, slots=True)
class LightAugment:
    """Turns, scales, shifts and changes the contrast of each picture by amounts of its own, all drawn uniformly.

    Args:
        max_shift: share of the width and height, each way.
        max_angle_deg: either way.
        max_scale: a picture is scaled by 1 - max_scale to 1 + max_scale; below 1.
        max_contrast: values move about the picture's mean by a factor of 1 - max_contrast to 1 + max_contrast.
        fill: value of what lies outside the picture, in the units of the batch.

    Raises:
        ConfigError: an amount out of range.
    """

    max_shift: float = 0.06
    max_angle_deg: float = 10.0
    max_scale: float = 0.1
    max_contrast: float = 0.0
    fill: float = 0.0

    def __post_init__(self) -> None:
        amounts = (self.max_shift, self.max_angle_deg, self.max_scale, self.max_contrast)
        if min(amounts) < 0 or self.max_scale >= 1:
            raise ConfigError(f"{self}: expected amounts of at least 0 and max_scale below 1")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """B x 3 x H x W, float, of any range, to the same; `generator` lives on the CPU."""
        shifted = self._move(images, generator)
        factor = 1 + self.max_contrast * symmetric(len(images), generator=generator).to(images)
        mean = shifted.mean(dim=(1, 2, 3), keepdim=True)
        return mean + factor.view(-1, 1, 1, 1) * (shifted - mean)

    def _move(self, images: Tensor, generator: torch.Generator) -> Tensor:
        B = len(images)
        moved = affine(
            images - self.fill,
            angle=math.radians(self.max_angle_deg) * symmetric(B, generator=generator),
            scale=1 + self.max_scale * symmetric(B, generator=generator),
            shift_x=self.max_shift * symmetric(B, generator=generator),
            shift_y=self.max_shift * symmetric(B, generator=generator),
            padding="zeros",
        )
        return moved + self.fill
