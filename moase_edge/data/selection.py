"""Parts of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moase_edge.data.chance import generator
from moase_edge.data.labelled import LabelledPictures, Pictures, PictureSet
from moase_edge.errors import ConfigError

# First numbers of the generators' keys; protocols use their own (see `protocols/stream.py`).
_LIMIT_KEY, _SPLIT_KEY = 100, 101


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Some of `pictures`, by index; `Pictures`, which are read when they are asked for."""

    pictures: Pictures
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return self.pictures[int(self.indices[index])]


def subset(images: PictureSet, indices: NDArray[np.int64]) -> LabelledPictures:
    """The pictures at `indices` (M, int64), in that order; they keep their `ids`, and none is read or copied."""
    return LabelledPictures(Chosen(images, indices), images.labels[indices], images.names, images.ids[indices])


def limited(images: PictureSet, limit: int | None, seed: int) -> PictureSet:
    """At most `limit` pictures, drawn at random by `seed`, in the order of the set; all of them for None.

    Raises:
        ConfigError: a limit below 1.
    """
    if limit is None:
        return images
    if limit < 1:
        raise ConfigError(f"limit is {limit}; expected at least 1 picture, or none for all {len(images)}")
    if limit >= len(images):
        return images
    drawn = generator(seed, _LIMIT_KEY).permutation(len(images))[:limit]
    return subset(images, np.sort(drawn))


def split(images: PictureSet, first: int, seed: int) -> tuple[LabelledPictures, LabelledPictures]:
    """Cut a set at random by `seed`: `first` pictures, such as source images, and all others, to be streamed.

    The parts share no picture, keep their `ids`, and are in the order of the set. Files are often sorted by class
    or by source, so the first ones of a folder would not stand for the rest.

    Raises:
        ConfigError: nothing would be left to stream.
    """
    if not 0 <= first < len(images):
        raise ConfigError(
            f"{first} of {len(images)} pictures were to be kept aside; expected at least 0, and fewer than there "
            "are, so that some are left to stream: ask for fewer or give more pictures"
        )
    order = generator(seed, _SPLIT_KEY).permutation(len(images))
    return subset(images, np.sort(order[:first])), subset(images, np.sort(order[first:]))
