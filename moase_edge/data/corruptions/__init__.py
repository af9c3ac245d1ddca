"""The common corruptions of Hendrycks & Dietterich 2019 (arXiv 1903.12261), made on the fly.

Own code after the published definitions; `docs/corruptions.md` has the sources of the constants, how closely the
statistics agree with the published package, and what deviates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from moase_edge.data.corruptions.blur import (
    DEFOCUS_BLUR,
    GAUSSIAN_BLUR,
    GLASS_BLUR,
    MOTION_BLUR,
    ZOOM_BLUR,
)
from moase_edge.data.corruptions.corruption import (
    MAX_SEVERITY,
    ConstantSet,
    Corruption,
    Image,
    constants_for,
)
from moase_edge.data.corruptions.digital import (
    BRIGHTNESS,
    CONTRAST,
    ELASTIC_TRANSFORM,
    JPEG_COMPRESSION,
    PIXELATE,
    SATURATE,
)
from moase_edge.data.corruptions.noise import GAUSSIAN_NOISE, IMPULSE_NOISE, SHOT_NOISE, SPECKLE_NOISE
from moase_edge.data.corruptions.weather import FOG, FROST, SNOW, SPATTER
from moase_edge.data.unknown import does_not_exist
from moase_edge.errors import ConfigError

__all__ = [
    "COMMON_CORRUPTIONS",
    "CORRUPTIONS",
    "KINDS",
    "MAX_SEVERITY",
    "ConstantSet",
    "Corruption",
    "Image",
    "constants_for",
    "corrupt",
]

CORRUPTIONS: dict[str, Corruption[Any]] = {
    "gaussian_noise": GAUSSIAN_NOISE,
    "shot_noise": SHOT_NOISE,
    "impulse_noise": IMPULSE_NOISE,
    "defocus_blur": DEFOCUS_BLUR,
    "glass_blur": GLASS_BLUR,
    "motion_blur": MOTION_BLUR,
    "zoom_blur": ZOOM_BLUR,
    "snow": SNOW,
    "frost": FROST,
    "fog": FOG,
    "brightness": BRIGHTNESS,
    "contrast": CONTRAST,
    "elastic_transform": ELASTIC_TRANSFORM,
    "pixelate": PIXELATE,
    "jpeg_compression": JPEG_COMPRESSION,
    "speckle_noise": SPECKLE_NOISE,
    "gaussian_blur": GAUSSIAN_BLUR,
    "spatter": SPATTER,
    "saturate": SATURATE,
}
"""By name: the 15 of the benchmark in the published order, then the 4 meant for validation."""

COMMON_CORRUPTIONS: tuple[str, ...] = tuple(CORRUPTIONS)[:15]
"""The 15 of the benchmark, in the published order."""


KINDS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "brightness", "spatter"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
}
"""The corruptions of each kind, as the publication groups them."""


def corrupt(
    image: Image,
    name: str,
    severity: int,
    rng: np.random.Generator,
    *,
    constants: ConstantSet | None = None,
) -> Image:
    """Corrupt one frame by the corruption of this name in CORRUPTIONS; all else is as `Corruption` takes it.

    Raises:
        ConfigError: an unknown name, and what a `Corruption` refuses.
    """
    corruption = CORRUPTIONS.get(name)
    if corruption is None:
        raise ConfigError(does_not_exist("corruption", name, CORRUPTIONS))
    return corruption(image, severity, rng, constants=constants)
