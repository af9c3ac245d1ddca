"""Where a picture goes on its way to the model's size: how it is resized, cropped, and filled up."""

from __future__ import annotations

import math

from moase_edge.artifact.preprocess_spec import CropMode, PreprocessSpec
from moase_edge.errors import SourceError

_MOST_RESIZED_PIXELS = 2**26  # a needle of a picture would otherwise ask for gigabytes


def resized_size(spec: PreprocessSpec, height: int, width: int) -> tuple[int, int]:
    """Height and width to which a picture is resized before the crop, with timm's and torchvision's rounding.

    Raises:
        SourceError: so elongated that it cannot be resized.
    """
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
        short, long = sorted(picture)
        longer = int(goal[0] * long / short)
        return (goal[0], longer) if picture[0] <= picture[1] else (longer, goal[0])
    ratios = (picture[0] / goal[0], picture[1] / goal[1])
    ratio = min(ratios) if mode == "center" else max(ratios)
    return round(picture[0] / ratio), round(picture[1] / ratio)


def centred(resized: int, target: int) -> tuple[slice, slice]:
    """What is kept of so many pixels along a side, and where it stands among `target` of them.

    Rounds as torchvision's `center_crop` does (half to even).
    """
    if resized < target:
        before = (target - resized) // 2
        return slice(0, resized), slice(before, before + resized)
    start = round((resized - target) / 2)
    return slice(start, start + target), slice(0, target)


def fill_levels(spec: PreprocessSpec) -> tuple[int, ...]:
    """The level of each channel beside a picture that is smaller than the output: the model's mean, or black."""
    if spec.crop_mode != "border":
        return (0, 0, 0)
    return tuple(min(max(round(255 * mean), 0), 255) for mean in spec.mean)
