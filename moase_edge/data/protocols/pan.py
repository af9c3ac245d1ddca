"""Pan: a camera that turns from picture to picture at constant speed and never cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from moase_edge.data.chance import generator
from moase_edge.data.labelled import Domain, PictureSet
from moase_edge.data.protocols.stream import (
    Chance,
    Fit,
    Schedule,
    Stream,
    at_least,
    chosen_pictures,
    make_stream,
)
from moase_edge.errors import ConfigError


def pan(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
    frames: int = 24,
) -> Stream:
    """Domains in turn; in each the view slides once over all pictures, one frame at a time (`batch_size` 1).

    Pictures stand side by side in a circle, in an order that is new in each domain, and the view goes round once:
    N pictures are N crossings, the last one back to the first picture, so that each is shown equally. The next
    domain begins at that very picture: where the domain changes, nothing but the shift does. A single picture
    stands beside itself.

    A frame has label and id of the picture that fills more of the view; where two fill half of it each, of the
    one that the view moves to. `fit` brings both to the model's size, the view slides over what comes of it, then
    the shift acts on the view: its chance is new in each frame. A domain read from disk shows pictures that are
    already shifted, so there nothing but the view changes from frame to frame.

    Args:
        frames: of one crossing, at least 2.
        fit: None leaves pictures as they are, which must then be of one size.
        Others are those of `continual`.

    Raises:
        ConfigError: as `continual`; when a frame is made, two pictures of different size.
    """
    at_least(2, frames=frames)
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    schedule = _schedule(len(images), len(domains), frames=frames, seed=seed)
    settings, window = {"limit": limit, "frames": frames}, SideBySide(frames)
    return make_stream(
        "pan", images, domains, schedule, seed=seed, settings=settings, fit=fit, batch_size=1, window=window
    )


@dataclass(frozen=True, slots=True)
class SideBySide:
    """A view, as wide as one picture, that slides to the right from one picture to another.

    It stands on whole pixels: from frame to frame it moves by width / `frames`, rounded up or down.

    Attributes:
        frames: of a crossing, at least 2.
    """

    frames: int

    def __call__(self, shown: NDArray[np.uint8], beside: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
        """The view at `step`, 0 to `frames` - 1, a new array: at 0 all of the picture that it leaves.

        Args:
            shown: the picture that fills more of the view, H x W x 3.
            beside: the other one, of the same shape.
            step: of the crossing.

        Raises:
            ConfigError: the shapes differ.
        """
        if shown.shape != beside.shape:
            raise ConfigError(
                f"pictures of shape {shown.shape} and {beside.shape} are to stand side by side; expected one "
                "size: give a fit that brings all to it"
            )
        left, right = (beside, shown) if 2 * step >= self.frames else (shown, beside)
        width = shown.shape[1]
        # Rounded down where half of the width is a whole pixel, else to the nearest one: so the picture on the
        # right fills half of the view or more from that step on, and no earlier, that has its label.
        moved = (2 * width * step // self.frames + width % 2) // 2
        return np.concatenate([left[:, moved:], right[:, :moved]], axis=1)


def _schedule(pictures: int, domains: int, *, frames: int, seed: int) -> Schedule:
    first = int(generator(seed, Chance.ORDER).integers(pictures))

    def crossing_by_crossing(rng: np.random.Generator) -> NDArray[np.int64]:
        order = rng.permutation(pictures)
        return np.repeat(np.roll(order, -int(np.flatnonzero(order == first)[0])), frames)

    schedule = Schedule.in_turn(domains, crossing_by_crossing, seed=seed)
    # Every domain begins at one picture, so the stream as a whole is a circle too.
    left, right = schedule.position, np.roll(schedule.position, -frames)
    step = np.arange(len(left), dtype=np.int64) % frames
    shown, beside = np.where(2 * step >= frames, (right, left), (left, right))
    return replace(schedule, position=shown, step=step, beside=beside)
