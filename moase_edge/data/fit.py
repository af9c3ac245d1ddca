"""A picture at the size that the model sees, still as bytes: corruptions are defined there.

The constants of the published corruptions were made for crops of 224 (or 32) px. A blur of 5 px in a photograph
of 4000 px would be gone once the model's own preprocessing has scaled it down, so a picture is fitted first and
corrupted then, as ImageNet-C was.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moase_edge.artifact.preprocess_spec import CropMode, PreprocessSpec
from moase_edge.errors import SourceError

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MOST_RESIZED_PIXELS = 2**26  # a needle of a picture would otherwise ask for gigabytes


def fit_to_model(image: NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Resize and crop as the model's preprocessing does, without normalising.

    Preprocessing the result by `fitted_spec(spec)` gives, to the bit, what preprocessing `image` by `spec` gives.

    Args:
        image: H x W x 3, RGB, uint8, of any size; not changed.
        spec: the model's own preprocessing.

    Returns:
        A new array, height x width x 3, RGB, uint8, C-contiguous.

    Raises:
        SourceError: not a picture, or one so elongated that it cannot be resized.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise SourceError(f"got a picture of shape {image.shape}, {image.dtype}; expected H x W x 3, RGB, uint8")
    resized = resize(image, *_resized_size(spec, *image.shape[:2]), _RESAMPLING[spec.interpolation])
    rows, columns = (_overlap(*sides) for sides in zip(resized.shape, (spec.height, spec.width), strict=False))
    fitted = np.empty((spec.height, spec.width, 3), np.uint8)
    fitted[:] = _fill(spec)
    fitted[rows[1], columns[1]] = resized[rows[0], columns[0]]
    return fitted


def fitted_spec(spec: PreprocessSpec) -> PreprocessSpec:
    """The preprocessing of pictures that already have the model's size: it only normalises them.

    Also the geometry for sets that are published as crops (CIFAR-10-C, ImageNet-C): they are fitted whole.
    """
    return spec.model_copy(update={"crop_pct": 1.0})


def resize(
    image: NDArray[np.uint8],
    height: int,
    width: int,
    resampling: Image.Resampling = Image.Resampling.BICUBIC,
) -> NDArray[np.uint8]:
    """Resize by Pillow to a new array, height x width x 3, uint8."""
    return np.array(Image.fromarray(image).resize((width, height), resampling))


def _resized_size(spec: PreprocessSpec, height: int, width: int) -> tuple[int, int]:
    """Height and width before the crop, with the rounding of timm and torchvision."""
    goal = (math.floor(spec.height / spec.crop_pct), math.floor(spec.width / spec.crop_pct))
    size = _scaled(spec.crop_mode, (height, width), goal)
    if min(size) < 1 or math.prod(size) > _MOST_RESIZED_PIXELS:
        raise SourceError(
            f"a picture of {width} x {height} pixels is too elongated: resized it would have "
            f"{size[1]} x {size[0]}; leave it out or cut it to pieces"
        )
    return size


def _scaled(mode: CropMode, picture: tuple[int, int], goal: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a picture resized towards `goal`."""
    if mode == "squash":
        return goal
    if mode == "center" and goal[0] == goal[1]:
        # torchvision cuts the longer side off to whole pixels; timm takes its way only for a square.
        return tuple(int(goal[0] * side / min(picture)) for side in picture)  # type: ignore[return-value]
    ratios = [side / target for side, target in zip(picture, goal, strict=True)]
    ratio = min(ratios) if mode == "center" else max(ratios)
    return round(picture[0] / ratio), round(picture[1] / ratio)


def _overlap(resized: int, target: int) -> tuple[slice, slice]:
    """What of `resized` pixels is kept, and where it stands among `target`: both centred."""
    if resized < target:
        before = (target - resized) // 2
        return slice(0, resized), slice(before, before + resized)
    start = round((resized - target) / 2)
    return slice(start, start + target), slice(0, target)


def _fill(spec: PreprocessSpec) -> tuple[int, ...]:
    """Level of each channel beside a picture that does not fill the frame: the model's mean, or black."""
    if spec.crop_mode != "border":
        return (0, 0, 0)
    return tuple(min(max(round(255 * mean), 0), 255) for mean in spec.mean)
