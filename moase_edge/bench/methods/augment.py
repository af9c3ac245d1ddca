"""The random view of CoTTA and ROID, drawn from a generator that is passed in.

As in the code of CoTTA (qinenergy/cotta, imagenet/cotta.py), after KATANA (arXiv 2109.08191), and of ROID
(mariodoebler/test-time-adaptation, augmentations/transforms_cotta.py): one draw serves the whole batch, but for
the noise. Both work on pictures of range 0..1, so normalised frames are brought there and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

BRIGHTNESS = (0.6, 1.4)
CONTRAST = (0.7, 1.3)
SATURATION = (0.5, 1.5)
HUE = (-0.06, 0.06)
GAMMA = (0.7, 1.3)
ANGLE_DEG = (-15.0, 15.0)
SCALE = (0.9, 1.1)
# Of the padded picture, which is twice as large as the frame.
SHIFT_SHARE = 1 / 16
BLUR_KERNEL_PX = 5
BLUR_SIGMA_PX = (0.001, 0.5)
NOISE_STD = 0.005


@dataclass(frozen=True, slots=True)
class RandomView:
    """Colour jitter in random order, a turn, scale and shift, a mirror, and, for CoTTA, blur and noise.

    Attributes:
        mean, std: of the normalisation, per channel.
        padding: what lies beyond the frame's edge (CoTTA: edge, ROID: reflect).
        blur_and_noise: as CoTTA does; ROID leaves both out.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    padding: Literal["edge", "reflect"]
    blur_and_noise: bool

    @torch.no_grad()
    def __call__(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """Normalised frames (B, 3, H, W) to the same."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        pictures = (frames * std + mean).clamp(0, 1)
        pictures = self._move(jitter_colours(pictures, generator), generator)
        if _uniform((0.0, 1.0), generator) < 0.5:
            pictures = pictures.flip(-1)
        if self.blur_and_noise:
            pictures = pictures + NOISE_STD * torch.randn(pictures.shape, generator=generator)
        return (pictures.clamp(0, 1) - mean) / std

    def _move(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional as vision

        height, width = pictures.shape[-2:]
        padding = [width // 2, height // 2]
        padded = vision.pad(pictures, padding, padding_mode=self.padding)
        moved = vision.affine(
            padded,
            angle=_uniform(ANGLE_DEG, generator),
            translate=[_shift(padded.shape[-1], generator), _shift(padded.shape[-2], generator)],
            scale=_uniform(SCALE, generator),
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        if self.blur_and_noise:
            # Only what the kernel reaches from inside the final crop: the padded picture costs 4 times that.
            margin = 2 * (BLUR_KERNEL_PX // 2)
            moved = vision.center_crop(moved, [height + margin, width + margin])
            moved = vision.gaussian_blur(moved, BLUR_KERNEL_PX, _uniform(BLUR_SIGMA_PX, generator))
        return cast(Tensor, vision.center_crop(moved, [height, width]))


def jitter_colours(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation, hue and gamma, in random order: (B, 3, H, W), 0..1, to the same."""
    from torchvision.transforms.v2 import functional as vision

    changes: list[tuple[Any, tuple[float, float]]] = [
        (vision.adjust_brightness, BRIGHTNESS),
        (vision.adjust_contrast, CONTRAST),
        (vision.adjust_saturation, SATURATION),
        (vision.adjust_hue, HUE),
        (vision.adjust_gamma, GAMMA),
    ]
    for index in torch.randperm(len(changes), generator=generator).tolist():
        change, span = changes[index]
        pictures = change(pictures, _uniform(span, generator))
    return pictures


def _uniform(span: tuple[float, float], generator: torch.Generator) -> float:
    low, high = span
    return low + (high - low) * float(torch.rand((), generator=generator))


def _shift(size: int, generator: torch.Generator) -> int:
    return round(_uniform((-SHIFT_SHARE * size, SHIFT_SHARE * size), generator))
