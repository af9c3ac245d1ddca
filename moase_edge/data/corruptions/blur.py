"""Blur: defocus, glass, motion, zoom and Gaussian (Hendrycks & Dietterich 2019, arXiv 1903.12261).

The constants are those of ImageNet-C and CIFAR-10-C (github.com/hendrycks/robustness, `make_imagenet_c.py` and
`make_cifar_c.py`). Motion blur follows github.com/bethgelab/imagecorruptions, which needs no ImageMagick.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from moase_edge.data.corruptions.corruption import Corruption, Image, Levels
from moase_edge.data.corruptions.filters import gaussian, magnify, motion

# The published motion blur lies within 45 degrees of the horizontal.
MOTION_ANGLE_DEG = (-45.0, 45.0)


class Disk(NamedTuple):
    """A lens out of focus: radius of its disk in pixels, standard deviation that softens the disk's edge."""

    radius_px: float
    edge_sigma_px: float


class Shuffle(NamedTuple):
    """Frosted glass: blur before and after, how far a pixel moves in a pass, number of passes."""

    sigma_px: float
    reach_px: int
    passes: int


class Smear(NamedTuple):
    """A moving camera: half the length of the smear, standard deviation of its weights."""

    radius_px: int
    sigma_px: float


class ZoomRange(NamedTuple):
    """A zooming camera: factors from 1 up to `stop` by `step`."""

    stop: float
    step: float


def defocus_blur(image: Image, disk: Disk, _rng: np.random.Generator) -> Levels:
    """Average over a disk."""
    blurred: Levels = cv2.filter2D(image.astype(np.float32), -1, _disk_kernel(disk))
    return blurred


def _disk_kernel(disk: Disk) -> Levels:
    """The disk on a grid, its edge softened; up to 8 px it lies on a grid of 17 x 17."""
    extent = 8 if disk.radius_px <= 8 else int(disk.radius_px)
    size = 3 if disk.radius_px <= 8 else 5
    offsets = np.arange(-extent, extent + 1)
    inside = (offsets[:, None] ** 2 + offsets**2 <= disk.radius_px**2).astype(np.float32)
    # Not normalised again: a disk that touches its grid gains one percent of weight, and so it was published.
    kernel: Levels = cv2.GaussianBlur(inside / inside.sum(), (size, size), sigmaX=disk.edge_sigma_px)
    return kernel


def glass_blur(image: Image, shuffle: Shuffle, rng: np.random.Generator) -> Levels:
    """Blur, let each pixel take the value of one nearby, blur again."""
    blurred = gaussian(image.astype(np.float32), shuffle.sigma_px).astype(np.uint8)
    height, width = image.shape[:2]
    source = np.arange(height * width)
    for _ in range(shuffle.passes):
        source = source[_shuffle_pass(height, width, shuffle.reach_px, rng)]
    shuffled = blurred.reshape(-1, 3)[source].reshape(image.shape)
    return gaussian(shuffled.astype(np.float32), shuffle.sigma_px)


def _shuffle_pass(height: int, width: int, reach_px: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Where each pixel's value comes from after one pass, as flat indices.

    The published loop goes from the last pixel to the first, and each takes the present value of a neighbour.
    (It means to swap the two, but assigns through views, so that only one changes.) A neighbour that lies later
    in the picture has taken a value of its own before, which makes chains. All of them are followed at once: the
    result is that of the loop, draw for draw.
    """
    index = np.arange(height * width).reshape(height, width)
    # The loop ends one pixel nearer to the last row and column than to the first.
    inner = np.s_[reach_px + 1 : height - reach_px + 1, reach_px + 1 : width - reach_px + 1]
    across, down = rng.integers(-reach_px, reach_px, size=(2, *index[inner].shape))
    neighbour = index.copy()
    neighbour[inner] += down * width + across
    changes = np.zeros((height, width), dtype=bool)
    changes[inner] = True
    # A pixel in a chain points to the next one, the end of a chain to itself.
    taken_later = (neighbour > index) & changes.ravel()[neighbour]
    follow = np.where(taken_later, neighbour, index).ravel()
    while not np.array_equal(follow, further := follow[follow]):
        follow = further
    source: NDArray[np.int64] = neighbour.ravel()[follow]
    return source


def motion_blur(image: Image, smear: Smear, rng: np.random.Generator) -> Levels:
    """Smear along a random direction within 45 degrees of the horizontal."""
    return motion(image.astype(np.float32), *smear, angle_deg=rng.uniform(*MOTION_ANGLE_DEG))


def zoom_blur(image: Image, zoom: ZoomRange, _rng: np.random.Generator) -> Levels:
    """Average of the frame, counted twice, and enlargements of its middle."""
    levels = image.astype(np.float32)
    # np.arange rounds here as it did there: the stop belongs to the range at some severities.
    factors = np.arange(1, zoom.stop, zoom.step)
    total = levels.copy()
    for factor in factors:
        total += magnify(levels, float(factor), image.shape[:2])
    average: Levels = total / np.float32(len(factors) + 1)
    return average


def gaussian_blur(image: Image, sigma_px: float, _rng: np.random.Generator) -> Levels:
    """Blur with a Gaussian."""
    return gaussian(image.astype(np.float32), sigma_px)


DEFOCUS_BLUR = Corruption(
    defocus_blur,
    imagenet=(Disk(3, 0.1), Disk(4, 0.5), Disk(6, 0.5), Disk(8, 0.5), Disk(10, 0.5)),
    cifar=(Disk(0.3, 0.4), Disk(0.4, 0.5), Disk(0.5, 0.6), Disk(1, 0.2), Disk(1.5, 0.1)),
)
GLASS_BLUR = Corruption(
    glass_blur,
    imagenet=(Shuffle(0.7, 1, 2), Shuffle(0.9, 2, 1), Shuffle(1, 2, 3), Shuffle(1.1, 3, 2), Shuffle(1.5, 4, 2)),
    cifar=(Shuffle(0.05, 1, 1), Shuffle(0.25, 1, 1), Shuffle(0.4, 1, 1), Shuffle(0.25, 1, 2), Shuffle(0.4, 1, 2)),
)
MOTION_BLUR = Corruption(
    motion_blur,
    imagenet=(Smear(10, 3), Smear(15, 5), Smear(15, 8), Smear(15, 12), Smear(20, 15)),
    cifar=(Smear(6, 1), Smear(6, 1.5), Smear(6, 2), Smear(8, 2), Smear(9, 2.5)),
)
ZOOM_BLUR = Corruption(
    zoom_blur,
    imagenet=(
        ZoomRange(1.11, 0.01),
        ZoomRange(1.16, 0.01),
        ZoomRange(1.21, 0.02),
        ZoomRange(1.26, 0.02),
        ZoomRange(1.31, 0.03),
    ),
    cifar=(
        ZoomRange(1.06, 0.01),
        ZoomRange(1.11, 0.01),
        ZoomRange(1.16, 0.01),
        ZoomRange(1.21, 0.01),
        ZoomRange(1.26, 0.01),
    ),
)
GAUSSIAN_BLUR = Corruption(gaussian_blur, imagenet=(1, 2, 3, 4, 6), cifar=(0.4, 0.6, 0.7, 0.8, 1))
