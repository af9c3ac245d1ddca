"""Digital and photometric corruptions: brightness, contrast, elastic, pixelate, JPEG, saturate.

Definitions: Hendrycks & Dietterich 2019 (arXiv 1903.12261). The constants are those of ImageNet-C and CIFAR-10-C
(github.com/hendrycks/robustness, `make_imagenet_c.py` and `make_cifar_c.py`), for the elastic transform of large
frames those of github.com/bethgelab/imagecorruptions, which grow with the frame.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image as PILImage

from moase_edge.data.corruptions.corruption import Corruption, Image, Levels
from moase_edge.data.corruptions.filters import gaussian


class Saturation(NamedTuple):
    """New saturation in HSV: `gain` * saturation + `offset`, saturation in 0..1."""

    gain: float
    offset: float


class Warp(NamedTuple):
    """An elastic warp, in shares of the frame's side.

    `amplitude` of the displacements before they are smoothed, `sigma` of the smoothing, and `affine`, by how much
    the corners of a triangle are moved first.
    """

    amplitude: float
    sigma: float
    affine: float


def brightness(image: Image, offset: float, _rng: np.random.Generator) -> Levels:
    """Add to the value in HSV, a share of white; hue and saturation stay.

    Value is the largest channel, and all three are proportional to it, so no colour conversion is needed.
    """
    levels = image.astype(np.float32)
    value = levels.max(axis=2, keepdims=True)
    brighter = np.minimum(value + np.float32(255 * offset), 255)
    result: Levels = np.where(value > 0, levels * (brighter / np.maximum(value, 1)), brighter)
    return result


def contrast(image: Image, gain: float, _rng: np.random.Generator) -> Levels:
    """Pull each channel towards its mean."""
    means = image.mean(axis=(0, 1)).astype(np.float32)
    result: Levels = (image - means) * np.float32(gain) + means
    return result


def saturate(image: Image, saturation: Saturation, _rng: np.random.Generator) -> Levels:
    """Scale and shift the saturation in HSV; hue and value stay.

    Each channel's distance below the largest is proportional to the saturation, so no colour conversion is needed.
    Pure grey has hue 0 in HSV: where saturation is added, it turns red, and so it was published.
    """
    levels = image.astype(np.float32)
    value = levels.max(axis=2, keepdims=True)
    spread = value - levels.min(axis=2, keepdims=True)
    old = spread / np.maximum(value, 1)
    new = np.clip(old * np.float32(saturation.gain) + np.float32(saturation.offset), 0, 1)
    below = np.where(spread > 0, (value - levels) / np.maximum(spread, 1), np.array([0, 1, 1], dtype=np.float32))
    result: Levels = value * (1 - below * new)
    return result


def jpeg_compression(image: Image, quality: int, _rng: np.random.Generator) -> Image:
    """Compress with libjpeg's quality and its usual halving of colour, and decompress."""
    stream = BytesIO()
    PILImage.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.array(PILImage.open(stream))


def pixelate(image: Image, share: float, _rng: np.random.Generator) -> Image:
    """Reduce to the share of the side with a box filter, and repeat pixels to the old size."""
    height, width = image.shape[:2]
    small = PILImage.fromarray(image).resize((int(width * share), int(height * share)), PILImage.Resampling.BOX)
    return np.array(small.resize((width, height), PILImage.Resampling.NEAREST))


def elastic_transform(image: Image, warp: Warp, rng: np.random.Generator) -> Levels:
    """Move each pixel by a smooth random field, after a random affine map where the setting has one."""
    levels = image.astype(np.float32)
    if warp.affine:
        levels = _random_affine(levels, warp.affine, rng)
    if not warp.amplitude:
        return levels
    height, width = image.shape[:2]
    rows, columns = np.indices((height, width), dtype=np.float32)
    columns += _displacements(height, width, warp, rng)
    rows += _displacements(height, width, warp, rng)
    warped: Levels = cv2.remap(levels, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return warped


def _displacements(height: int, width: int, warp: Warp, rng: np.random.Generator) -> Levels:
    """H x W, pixels. The height alone sets their size, as published."""
    white: Levels = 2 * rng.random((height, width), dtype=np.float32) - 1
    sigmas = (warp.sigma * height, warp.sigma * width)
    smooth = gaussian(white, sigmas, truncate=3, border=cv2.BORDER_REFLECT)
    displacements: Levels = np.float32(warp.amplitude * height) * smooth
    return displacements


def _random_affine(levels: Levels, share: float, rng: np.random.Generator) -> Levels:
    """The affine map that moves three corners of a middle square by up to `share` of the shorter side."""
    height, width = levels.shape[:2]
    reach = min(height, width) // 3
    centre = np.array([width // 2, height // 2])
    corners = (centre + reach * np.array([[1, 1], [1, -1], [-1, -1]])).astype(np.float32)
    limit = share * min(height, width)
    moved = (corners + rng.uniform(-limit, limit, size=corners.shape)).astype(np.float32)
    mapped: Levels = cv2.warpAffine(
        levels, cv2.getAffineTransform(corners, moved), (width, height), borderMode=cv2.BORDER_REFLECT_101
    )
    return mapped


BRIGHTNESS = Corruption(brightness, imagenet=(0.1, 0.2, 0.3, 0.4, 0.5), cifar=(0.05, 0.1, 0.15, 0.2, 0.3))
CONTRAST = Corruption(contrast, imagenet=(0.4, 0.3, 0.2, 0.1, 0.05), cifar=(0.75, 0.5, 0.4, 0.3, 0.15))
ELASTIC_TRANSFORM = Corruption(
    elastic_transform,
    # imagecorruptions: noise of 0.005 sides, times 250 times the first factor.
    imagenet=(
        Warp(0.05 * 250 * 0.005, 0.01, 0),
        Warp(0.065 * 250 * 0.005, 0.01, 0),
        Warp(0.085 * 250 * 0.005, 0.01, 0),
        Warp(0.1 * 250 * 0.005, 0.01, 0),
        Warp(0.12 * 250 * 0.005, 0.01, 0),
    ),
    cifar=(
        Warp(0, 0, 0.08),
        Warp(0.05, 0.2, 0.07),
        Warp(0.08, 0.06, 0.06),
        Warp(0.1, 0.04, 0.05),
        Warp(0.1, 0.03, 0.03),
    ),
)
PIXELATE = Corruption(pixelate, imagenet=(0.6, 0.5, 0.4, 0.3, 0.25), cifar=(0.95, 0.9, 0.85, 0.75, 0.65))
JPEG_COMPRESSION = Corruption(jpeg_compression, imagenet=(25, 18, 15, 10, 7), cifar=(80, 65, 58, 50, 40))
SATURATE = Corruption(
    saturate,
    imagenet=(
        Saturation(0.3, 0),
        Saturation(0.1, 0),
        Saturation(2, 0),
        Saturation(5, 0.1),
        Saturation(20, 0.2),
    ),
    cifar=(
        Saturation(0.3, 0),
        Saturation(0.1, 0),
        Saturation(1.5, 0),
        Saturation(2, 0.1),
        Saturation(2.5, 0.2),
    ),
)
