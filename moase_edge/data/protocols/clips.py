"""Clips: each picture as a camera sees it that slowly pans and zooms over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from moase_edge.data.fit import resize
from moase_edge.data.labelled import Domain, PictureSet
from moase_edge.data.protocols.correlated import by_class
from moase_edge.data.protocols.stream import (
    Fit,
    Schedule,
    Stream,
    at_least,
    chosen_pictures,
    make_stream,
)
from moase_edge.errors import ConfigError

ClipOrder = Literal["class", "shuffled"]

# Share of the side that the narrowest view shows. Chosen here: objects stay in view, and the crop that many models
# make (0.875 or 0.9) comes on top.
NARROWEST_VIEW = 0.8
# A clip of this many frames goes a whole path; a shorter one goes as slowly and ends on the way.
FRAMES_OF_A_PATH = 12


def clips(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
    frames: int = 12,
    order: ClipOrder = "class",
) -> Stream:
    """Domains in turn; each shows every picture once, as a clip, one frame at a time (`batch_size` 1).

    The view pans and zooms over the picture as it is, then `fit` brings it to the model's size, then the shift
    acts: its chance is new in each frame, the path is the clip's own. A domain that is read from disk pans over
    pictures that are already shifted, so there nothing but the view changes from frame to frame.

    Args:
        frames: of a clip, at least 2.
        order: of the clips within a domain: `class`, sorted by class index and shuffled within a class, so that
            what a camera sees changes slowly; or `shuffled`.
        fit: None enlarges each view to the size of its picture.
        Others are those of `continual`.

    Raises:
        ConfigError: as `continual`, or an unknown order.
    """
    at_least(2, frames=frames)
    _refuse_unknown(order)
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    schedule = _schedule(images.labels, len(domains), frames=frames, order=order, seed=seed)
    settings, view = {"limit": limit, "frames": frames, "order": order}, PanAndZoom(frames, keep_size=fit is None)
    return make_stream(
        "clips", images, domains, schedule, seed=seed, settings=settings, fit=fit, view=view, batch_size=1
    )


def _refuse_unknown(order: str) -> None:
    if order not in get_args(ClipOrder):
        raise ConfigError(f"clips have no order {order!r}; expected {' or '.join(get_args(ClipOrder))}")


@dataclass(frozen=True, slots=True)
class PanAndZoom:
    """A view that moves over a picture: between two random windows of 0.8 to 1 of its sides, at constant speed.

    Windows lie on whole pixels, so that a later resize is the only interpolation. From frame to frame of a path a
    border moves by at most 4 % of the side, and the rounding to a pixel.

    Attributes:
        frames: of a clip, at least 2.
        keep_size: whether the window is enlarged to the size of the picture.
    """

    frames: int
    keep_size: bool

    def __call__(self, image: NDArray[np.uint8], step: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The window of frame `step`, 0 to `frames` - 1, of the clip whose generator this is."""
        height, width = image.shape[:2]
        # Each end of the path: share of the side, and place in the room that is left, down and across.
        ends = rng.uniform((NARROWEST_VIEW, 0, 0), 1.0, size=(2, 3))
        way = step / (max(self.frames, FRAMES_OF_A_PATH) - 1)
        share, down, across = (1 - way) * ends[0] + way * ends[1]
        rows, columns = max(round(height * share), 1), max(round(width * share), 1)
        top, left = round((height - rows) * down), round((width - columns) * across)
        window = image[top : top + rows, left : left + columns]
        return resize(window, height, width) if self.keep_size else window


def _schedule(labels: NDArray[np.int64], domains: int, *, frames: int, order: ClipOrder, seed: int) -> Schedule:
    def clip_by_clip(rng: np.random.Generator) -> NDArray[np.int64]:
        shown = by_class(labels, rng) if order == "class" else rng.permutation(len(labels))
        return np.repeat(shown, frames)

    schedule = Schedule.in_turn(domains, clip_by_clip, seed=seed)
    return replace(schedule, step=np.arange(len(schedule.domain), dtype=np.int64) % frames)
