"""Weather: snow, frost, fog and spatter (Hendrycks & Dietterich 2019, arXiv 1903.12261).

The constants are those of ImageNet-C and CIFAR-10-C (github.com/hendrycks/robustness, `make_imagenet_c.py` and
`make_cifar_c.py`). Snow follows github.com/bethgelab/imagecorruptions, which needs no ImageMagick. The pictures of
frost are drawn here (`frost_picture.py`); the published ones are photographs.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from moase_edge.data.corruptions.corruption import Corruption, Image, Levels
from moase_edge.data.corruptions.filters import gaussian, magnify, motion
from moase_edge.data.corruptions.frost_picture import frost_picture

# Falling snow is smeared within 45 degrees of the vertical.
SNOW_ANGLE_DEG = (-135.0, -45.0)
# Snow light: a frame is mixed with its own grey picture, made brighter.
SNOW_LIGHT_GAIN, SNOW_LIGHT_OFFSET = 1.5, 127.5

WATER_RGB = (175, 238, 238)
MUD_RGB = (63, 42, 20)
# Mud thinner than this share is left out.
MUD_MIN_COVER = 0.8
# Where the edge of a drop ends, in pixels.
DROP_EDGE_PX = 20
# Brings out the upper left and lower right rims of drops.
DROP_RELIEF = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))


class Flakes(NamedTuple):
    """Snow: normal noise (`mean`, `deviation`), enlarged by `zoom`, cut below `threshold`, smeared over
    `radius_px` with weights of `sigma_px`; `frame_share` of the frame stays as it is under the snow's light."""

    mean: float
    deviation: float
    zoom: float
    threshold: float
    radius_px: int
    sigma_px: float
    frame_share: float


class Frosting(NamedTuple):
    """Weights of the frame and of the frost."""

    frame: float
    frost: float


class Haze(NamedTuple):
    """Fog: its `amount`, where white is 1; detail of half the size is weaker by the square of `decay`."""

    amount: float
    decay: float


class Splash(NamedTuple):
    """Drops: normal noise (`mean`, `deviation`), blurred by `sigma_px`, cut below `threshold`.

    `strength` is how bright water gets, or the softness of mud's edge in pixels.
    """

    mean: float
    deviation: float
    sigma_px: float
    threshold: float
    strength: float
    mud: bool = False


def snow(image: Image, flakes: Flakes, rng: np.random.Generator) -> Levels:
    """Whiten the frame, and add smeared flakes twice, the second time turned by 180 degrees."""
    height, width = image.shape[:2]
    noise = rng.normal(flakes.mean, flakes.deviation, size=(height, width)).astype(np.float32)
    layer = magnify(noise, flakes.zoom)
    layer = np.where(layer < flakes.threshold, 0, np.minimum(layer, 1))
    layer = motion(layer, flakes.radius_px, flakes.sigma_px, angle_deg=rng.uniform(*SNOW_ANGLE_DEG))
    layer = np.round(255 * layer[:height, :width, None])
    levels = image.astype(np.float32)
    grey = cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)[..., None]
    lit = np.maximum(levels, SNOW_LIGHT_GAIN * grey + SNOW_LIGHT_OFFSET)
    share = np.float32(flakes.frame_share)
    snowy: Levels = share * levels + (1 - share) * lit + layer + np.rot90(layer, k=2)
    return snowy


def frost(image: Image, frosting: Frosting, rng: np.random.Generator) -> Levels:
    """Add a picture of frost."""
    picture = frost_picture(image.shape[0], image.shape[1], rng)
    frosted: Levels = np.float32(frosting.frame) * image + np.float32(frosting.frost) * picture
    return frosted


def fog(image: Image, haze: Haze, rng: np.random.Generator) -> Levels:
    """Add a plasma fractal, and scale so that the brightest value of the frame cannot be passed."""
    height, width = image.shape[:2]
    side = 1 << (max(height, width) - 1).bit_length()
    cloud = plasma_fractal(side, haze.decay, rng)[:height, :width, None]
    brightest = float(image.max())
    thickness = 255 * haze.amount
    foggy: Levels = (image + np.float32(thickness) * cloud) * np.float32(brightest / (brightest + thickness))
    return foggy


def plasma_fractal(side_px: int, decay: float, rng: np.random.Generator) -> Levels:
    """A cloud by the diamond-square algorithm (Fournier, Fussell & Carpenter 1982) on a torus.

    Args:
        side_px: a power of two, at least 2.
        decay: the random part shrinks by its square from one step to the next, of half the size.
        rng: gives the random part.

    Returns:
        `side_px` x `side_px`, float32, from exactly 0 to exactly 1.
    """
    cloud = np.zeros((side_px, side_px), dtype=np.float32)
    step, amplitude = side_px, 1.0

    def settle(total: Levels) -> Levels:
        random = 2 * rng.random(total.shape, dtype=np.float32) - 1
        settled: Levels = total / 4 + np.float32(amplitude) * random
        return settled

    while step >= 2:
        half = step // 2
        corners = cloud[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        centres = settle(pairs + np.roll(pairs, -1, axis=1))
        cloud[half::step, half::step] = centres
        above = corners + np.roll(corners, -1, axis=1) + centres + np.roll(centres, 1, axis=0)
        beside = pairs + centres + np.roll(centres, 1, axis=1)
        cloud[::step, half::step] = settle(above)
        cloud[half::step, ::step] = settle(beside)
        step, amplitude = half, amplitude / decay**2
    cloud -= cloud.min()
    cloud /= cloud.max()
    return cloud


def spatter(image: Image, splash: Splash, rng: np.random.Generator) -> Levels:
    """Drops of water, or of mud, on the lens."""
    noise = rng.normal(splash.mean, splash.deviation, size=image.shape[:2]).astype(np.float32)
    liquid = gaussian(noise, splash.sigma_px)
    if splash.mud:
        return _mud(image, liquid > splash.threshold, splash.strength)
    return _water(image, np.where(liquid < splash.threshold, 0, liquid), splash.strength)


def _mud(image: Image, wet: NDArray[np.bool_], edge_px: float) -> Levels:
    cover = gaussian(wet.astype(np.float32), edge_px)
    cover = np.where(cover < MUD_MIN_COVER, 0, cover)[..., None]
    muddy: Levels = image * (1 - cover) + np.array(MUD_RGB, dtype=np.float32) * cover
    return muddy


def _water(image: Image, liquid: Levels, strength: float) -> Levels:
    """Water is brightest away from the edges of drops, and in relief."""
    drops = (255 * np.clip(liquid, 0, 1)).astype(np.uint8)
    depth = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    depth = cv2.blur(np.minimum(depth, DROP_EDGE_PX), (3, 3)).astype(np.uint8)
    relief = cv2.filter2D(cv2.equalizeHist(depth), cv2.CV_8U, np.array(DROP_RELIEF, dtype=np.float32))
    shine = drops * cv2.blur(relief, (3, 3)).astype(np.float32)
    brightest = shine.max()
    if brightest:
        shine *= strength / brightest
    wet: Levels = image + shine[..., None] * np.array(WATER_RGB, dtype=np.float32)
    return wet


SNOW = Corruption(
    snow,
    imagenet=(
        Flakes(0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        Flakes(0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        Flakes(0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        Flakes(0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        Flakes(0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    cifar=(
        Flakes(0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        Flakes(0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        Flakes(0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        Flakes(0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        Flakes(0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
)
FROST = Corruption(
    frost,
    imagenet=(
        Frosting(1, 0.4),
        Frosting(0.8, 0.6),
        Frosting(0.7, 0.7),
        Frosting(0.65, 0.7),
        Frosting(0.6, 0.75),
    ),
    cifar=(
        Frosting(1, 0.2),
        Frosting(1, 0.3),
        Frosting(0.9, 0.4),
        Frosting(0.85, 0.4),
        Frosting(0.75, 0.45),
    ),
)
FOG = Corruption(
    fog,
    imagenet=(Haze(1.5, 2), Haze(2, 2), Haze(2.5, 1.7), Haze(2.5, 1.5), Haze(3, 1.4)),
    cifar=(Haze(0.2, 3), Haze(0.5, 3), Haze(0.75, 2.5), Haze(1, 2), Haze(1.5, 1.75)),
)
SPATTER = Corruption(
    spatter,
    imagenet=(
        Splash(0.65, 0.3, 4, 0.69, 0.6),
        Splash(0.65, 0.3, 3, 0.68, 0.6),
        Splash(0.65, 0.3, 2, 0.68, 0.5),
        Splash(0.65, 0.3, 1, 0.65, 1.5, mud=True),
        Splash(0.67, 0.4, 1, 0.65, 1.5, mud=True),
    ),
    cifar=(
        Splash(0.62, 0.1, 0.7, 0.7, 0.5),
        Splash(0.65, 0.1, 0.8, 0.7, 0.5),
        Splash(0.65, 0.3, 1, 0.69, 0.5),
        Splash(0.65, 0.1, 0.7, 0.69, 0.6, mud=True),
        Splash(0.65, 0.1, 0.5, 0.68, 0.6, mud=True),
    ),
)
