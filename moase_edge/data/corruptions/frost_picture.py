"""Frost on a window pane, drawn: feathers of ice over a grainy film.

ImageNet-C adds photographs of frost. These are drawn instead, each from the generator that is passed in.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from moase_edge.data.corruptions.corruption import Levels

# A frame's shorter side while drawing; the crystals keep their size relative to the frame.
PANE_PX = 256
# Ice grows its branches near 60 degrees.
BRANCH_RAD = np.pi / 3
# Mean and spread of the pictures by channel. On the reference photographs the published ones add 141 on average,
# with a spread of 38, and are a little blue.
MEAN_RGB = (133.0, 142.0, 148.0)
SPREAD_RGB = (37.0, 36.0, 34.5)
# Neighbouring octaves of the film differ by this factor in height.
FILM_ROUGHNESS = 0.62
FILM_OCTAVES = 7
# What film, ice and grain add to the relief.
FILM, ICE, GRAIN = 0.55, 0.9, 0.14

Points = NDArray[np.float64]
"""... x 2: x and y in pixels of the pane. Segments are ... x 2 x 2: both ends of each."""


class Growth(NamedTuple):
    """One generation of feathers: how many on a square pane, their shortest and longest stem, branches on each
    side of a stem and of a branch, and brightness."""

    feathers: int
    shortest_px: float
    longest_px: float
    barbs: int
    twigs: int
    brightness: int


# From the back to the front.
GROWTHS = (
    Growth(feathers=60, shortest_px=15, longest_px=40, barbs=9, twigs=3, brightness=150),
    Growth(feathers=30, shortest_px=50, longest_px=150, barbs=22, twigs=7, brightness=200),
    Growth(feathers=40, shortest_px=8, longest_px=30, barbs=7, twigs=2, brightness=235),
)


def frost_picture(height_px: int, width_px: int, rng: np.random.Generator) -> Levels:
    """A picture of frost.

    Returns:
        `height_px` x `width_px` x 3, RGB, float32, 0..255.
    """
    scale = PANE_PX / min(height_px, width_px)
    height, width = round(height_px * scale), round(width_px * scale)
    film = _film(height, width, rng)
    ice = _ice(height, width, rng)
    grain = rng.standard_normal((height, width), dtype=np.float32)
    # Ice catches more light where the film is thick, and grain shows where there is ice.
    relief = FILM * film + ICE * ice * (0.4 + film) + GRAIN * grain * (0.4 + ice)
    shrinking = scale > 1
    fitted = cv2.resize(
        relief, (width_px, height_px), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    )
    standard = ((fitted - fitted.mean()) / fitted.std())[..., None]
    mean, spread = np.array([MEAN_RGB, SPREAD_RGB], dtype=np.float32)
    picture: Levels = np.clip(mean + spread * standard, 0, 255)
    return picture


def _film(height: int, width: int, rng: np.random.Generator) -> Levels:
    """A cloudy coat of 0..1: noise of several sizes."""
    film = np.zeros((height, width), dtype=np.float32)
    for octave in range(1, FILM_OCTAVES + 1):
        cells = 2**octave
        shape = (cells * height // PANE_PX + 2, cells * width // PANE_PX + 2)
        coarse = rng.random(shape, dtype=np.float32)
        film += FILM_ROUGHNESS**octave * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    film -= film.min()
    film /= film.max()
    return film


def _ice(height: int, width: int, rng: np.random.Generator) -> Levels:
    """The feathers, 0..1."""
    pane = np.zeros((height, width), dtype=np.uint8)
    for growth in GROWTHS:
        stems = _stems(height, width, growth, rng)
        barbs = _barbs(stems, rng)
        _draw(pane, _twigs(barbs, growth.twigs, rng), growth.brightness // 2)
        _draw(pane, barbs, 3 * growth.brightness // 4)
        _draw(pane, np.stack([stems[:, :-1], stems[:, 1:]], axis=-2), growth.brightness)
    ice: Levels = pane.astype(np.float32) / np.float32(255)
    return ice


def _stems(height: int, width: int, growth: Growth, rng: np.random.Generator) -> Points:
    """Feathers x barbs x 2: curves from anywhere to anywhere."""
    feathers = round(growth.feathers * height * width / PANE_PX**2)
    count = (feathers, 1)
    heading = rng.uniform(0, 2 * np.pi, count) + rng.normal(0, 0.7, count) * np.linspace(0, 1, growth.barbs)
    length = rng.uniform(growth.shortest_px, growth.longest_px, count)
    start = rng.random((feathers, 1, 2)) * (width, height)
    return start + np.cumsum(_towards(heading, length / growth.barbs), axis=1)


def _barbs(stems: Points, rng: np.random.Generator) -> Points:
    """2 x feathers x barbs x 2 x 2: branches on both sides, shorter towards the tip."""
    steps = np.gradient(stems, axis=1)
    heading = np.arctan2(steps[..., 1], steps[..., 0])
    stem_length = np.linalg.norm(steps, axis=-1).sum(axis=1, keepdims=True)
    place = np.linspace(0, 1, stems.shape[1])
    length = 0.5 * stem_length * np.sqrt(place + 0.05) * (1.03 - place)
    return _both_sides(stems, heading, length, rng)


def _twigs(barbs: Points, count: int, rng: np.random.Generator) -> Points:
    """2 x ... x `count` x 2 x 2: branches of the branches."""
    along = (barbs[..., 1, :] - barbs[..., 0, :])[..., None, :]
    place = np.linspace(0.15, 0.95, count)
    base = barbs[..., :1, :] + along * place[:, None]
    heading = np.broadcast_to(np.arctan2(along[..., 1], along[..., 0]), base.shape[:-1])
    length = 0.35 * np.linalg.norm(along, axis=-1) * (1.05 - place)
    return _both_sides(base, heading, length, rng)


def _both_sides(
    base: Points, heading: NDArray[np.float64], length: NDArray[np.float64], rng: np.random.Generator
) -> Points:
    """2 x ... x 2 x 2: from each base one branch to each side of its heading, of uneven length and angle."""
    sides = np.array([-1.0, 1.0]).reshape(2, *[1] * heading.ndim)
    angle = heading + sides * BRANCH_RAD * rng.uniform(0.8, 1.05, (2, *heading.shape))
    reach = length * rng.uniform(0.35, 1.15, (2, *heading.shape))
    return np.stack([np.broadcast_to(base, (2, *base.shape)), base + _towards(angle, reach)], axis=-2)


def _towards(angle: NDArray[np.float64], length: NDArray[np.float64]) -> Points:
    return np.stack([np.cos(angle) * length, np.sin(angle) * length], axis=-1)


def _draw(pane: NDArray[np.uint8], segments: Points, brightness: int) -> None:
    """Draw thin soft lines; `pane` is changed."""
    fraction_bits = 4
    fixed = np.round(segments.reshape(-1, 2, 2) * 2**fraction_bits).astype(np.int32)
    cv2.polylines(pane, list(fixed), False, brightness, 1, cv2.LINE_AA, fraction_bits)
