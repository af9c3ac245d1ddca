"""Noise: Gaussian, shot, impulse and speckle (Hendrycks & Dietterich 2019, arXiv 1903.12261).

The constants are those of ImageNet-C and CIFAR-10-C (github.com/hendrycks/robustness, `make_imagenet_c.py` and
`make_cifar_c.py`).
"""

from __future__ import annotations

import numpy as np

from moase_edge.data.corruptions.corruption import Corruption, Image, Levels


def gaussian_noise(image: Image, scale: float, rng: np.random.Generator) -> Levels:
    """Add normal noise; `scale` is its standard deviation as a share of white."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noisy: Levels = image + np.float32(255 * scale) * noise
    return noisy


def shot_noise(image: Image, photons: float, rng: np.random.Generator) -> Levels:
    """Count photons: Poisson noise, where white is `photons` on average."""
    counts = rng.poisson(image * (photons / 255))
    return (counts * (255 / photons)).astype(np.float32)


def impulse_noise(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Salt and pepper: turn the share `amount` of all values, channel by channel, into 0 or 255, as likely."""
    chance = rng.random(image.shape, dtype=np.float32)
    noisy: Image = image.copy()
    noisy[chance < amount] = 255
    noisy[chance < amount / 2] = 0
    return noisy


def speckle_noise(image: Image, scale: float, rng: np.random.Generator) -> Levels:
    """Multiply by normal noise about 1; `scale` is its standard deviation."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noisy: Levels = image * (1 + np.float32(scale) * noise)
    return noisy


GAUSSIAN_NOISE = Corruption(
    gaussian_noise, imagenet=(0.08, 0.12, 0.18, 0.26, 0.38), cifar=(0.04, 0.06, 0.08, 0.09, 0.10)
)
SHOT_NOISE = Corruption(shot_noise, imagenet=(60, 25, 12, 5, 3), cifar=(500, 250, 100, 75, 50))
IMPULSE_NOISE = Corruption(
    impulse_noise, imagenet=(0.03, 0.06, 0.09, 0.17, 0.27), cifar=(0.01, 0.02, 0.03, 0.05, 0.07)
)
SPECKLE_NOISE = Corruption(
    speckle_noise, imagenet=(0.15, 0.2, 0.35, 0.45, 0.6), cifar=(0.06, 0.1, 0.12, 0.16, 0.2)
)
