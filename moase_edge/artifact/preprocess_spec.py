"""How a frame becomes the tensor that the engine expects, as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from moase_edge.config.base import Settings

CropMode = Literal["center", "squash", "border"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Mean = Annotated[float, Field(allow_inf_nan=False)]
Spread = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PreprocessSpec(Settings):
    """A model's own preprocessing, taken from its configuration at export.

    The frame (H x W x 3, RGB, uint8) is resized to `size / crop_pct`, cropped to `size`, divided by 255,
    then normalised per channel: `(value - mean) / std`. `crop_mode` says how the resize treats the aspect
    ratio: `center` fits the shorter side, `squash` ignores the ratio, `border` fits the longer side and pads.
    """

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    crop_pct: float = Field(gt=0, le=1)
    crop_mode: CropMode = "center"
    interpolation: Interpolation = "bicubic"
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Spread, Spread, Spread]
