"""Labelled pictures, the shifts that they are shown under, and a stream that is made of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from moase_edge.data.chance import generator
from moase_edge.errors import ConfigError

Shift = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]
"""Takes a picture, H x W x 3, RGB, uint8, that it may change in place; returns one of the same kind."""


class Pictures(Protocol):
    """Pictures by index, in memory or read when they are asked for; they may differ in size."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """H x W x 3, RGB, uint8. Whoever asks copies it before changing it."""
        ...


class PictureSet(Pictures, Protocol):
    """Pictures with their classes: what streams are made of."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) class of each picture, an index into `names`."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names."""
        ...

    @property
    def ids(self) -> NDArray[np.int64]:
        """(N,) index of each picture in the data set as it was opened: a part of a set keeps it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Pictures of one size in memory with their classes; a `PictureSet`.

    Attributes:
        images: N x H x W x 3, RGB, uint8, 0..255.
        labels: N, int64, each an index into `names`.
        names: the classes' names.

    Raises:
        ConfigError: shapes, dtypes or labels that do not fit each other.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        images = self.images
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise ConfigError(
                f"pictures have shape {images.shape} and dtype {images.dtype}; expected N x H x W x 3, uint8"
            )
        check_labels(self.labels, len(images), self.names)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = self.images[index]
        return picture

    @property
    def ids(self) -> NDArray[np.int64]:
        """(N,) 0, 1, 2, ..."""
        return np.arange(len(self), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPictures:
    """Pictures that are read one at a time, or a part of a set, with their classes; a `PictureSet`.

    Attributes:
        pictures: N pictures, which may differ in size.
        labels: N, int64, each an index into `names`.
        names: the classes' names.
        ids: N, int64, index of each picture in the data set as it was opened.

    Raises:
        ConfigError: lengths, dtypes or labels that do not fit each other.
    """

    pictures: Pictures
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        check_labels(self.labels, len(self.pictures), self.names)
        if self.ids.shape != self.labels.shape or self.ids.dtype != np.int64:
            raise ConfigError(
                f"ids have shape {self.ids.shape} and dtype {self.ids.dtype}; "
                f"expected one int64 for each of the {len(self.pictures)} pictures"
            )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return self.pictures[index]


def check_labels(labels: NDArray[np.int64], pictures: int, names: Sequence[str]) -> None:
    """Refuse labels that are not one int64 for each of `pictures` pictures, each an index into `names`.

    Raises:
        ConfigError: saying which does not fit.
    """
    if labels.shape != (pictures,) or labels.dtype != np.int64:
        raise ConfigError(
            f"labels have shape {labels.shape} and dtype {labels.dtype}; "
            f"expected one int64 for each of the {pictures} pictures"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(names)):
        raise ConfigError(
            f"labels run from {labels.min()} to {labels.max()}; "
            f"expected 0 to {len(names) - 1}, an index into the {len(names)} names"
        )


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One frame of a labelled stream.

    Attributes:
        image: H x W x 3, RGB, uint8, C-contiguous; owned by the receiver.
        label: class index.
        domain: name of the shift that it shows.
        picture: index, in the data set as it was opened, of the picture that it was made from: the frames of one
            picture are not independent. -1 where the stream does not say.
        time: arrival in frame periods; 0, 1, 2, ... where the protocol does not say otherwise.
        severity: of the shift; None for one that has none.
        round: how often the stream has come round to its first domain, from 0.
    """

    image: NDArray[np.uint8]
    label: int
    domain: str
    picture: int = -1
    time: float = 0.0
    severity: int | None = None
    round: int = 0


def unchanged(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:  # noqa: ARG001
    """The shift of the source domain: none."""
    return image


@dataclass(frozen=True, slots=True)
class Domain:
    """A shift with its name, such as a corruption at one severity, computed or read from disk.

    Attributes:
        name: the same at every severity.
        apply: what happens to a picture that the model would see as it is.
        pictures: for a shift that comes from disk, the pictures of the data set as it shows them, by `ids`; None
            shows those of the set that is streamed.
        severity: 1 to 5; None for a shift that has none.
        at: the same shift at another severity, 1 to 5; None where there is no other.
    """

    name: str
    apply: Shift = unchanged
    pictures: Pictures | None = None
    severity: int | None = None
    at: Callable[[int], Domain] | None = None

    def original(self, images: PictureSet, position: int) -> NDArray[np.uint8]:
        """A copy of the picture at `position` of `images` before `apply`: H x W x 3, RGB, uint8."""
        original = images[position] if self.pictures is None else self.pictures[int(images.ids[position])]
        return np.array(original)

    def show(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Apply the shift to `image`, which it may change.

        Returns:
            H x W x 3, RGB, uint8, C-contiguous.

        Raises:
            ConfigError: `apply` returned something other than a picture.
        """
        shown = self.apply(image, rng)
        if shown.ndim != 3 or shown.shape[2] != 3 or shown.dtype != np.uint8:
            raise ConfigError(
                f"domain {self.name!r} made a picture of shape {shown.shape} and dtype {shown.dtype}; "
                "expected H x W x 3, uint8"
            )
        return np.ascontiguousarray(shown)


class DomainStream:
    """A continual stream: one domain after the other, each over its own seeded selection of pictures.

    A domain shows no picture twice before it has shown all. Each frame is made when it is asked for, with a
    generator of its own, so that `stream[i]` is the same picture to the bit whichever frames were made
    before it, and every method that is compared sees the same stream.

    Args:
        images: what the frames are made of.
        domains: in order of appearance; the same one may come again, and then shows another selection.
        frames_per_domain: length of each domain in frames, at least 1.
        seed: at least 0.

    Raises:
        ConfigError: nothing to stream, a length or seed out of range, or, when a frame is made, a shift that
            returned something other than a picture.
    """

    def __init__(self, images: PictureSet, domains: Sequence[Domain], frames_per_domain: int, seed: int) -> None:
        if not len(images) or not domains:
            raise ConfigError(
                f"a stream of {len(domains)} domains over {len(images)} pictures; give at least one of each"
            )
        if frames_per_domain < 1 or seed < 0:
            raise ConfigError(
                f"frames_per_domain is {frames_per_domain}, seed is {seed}; expected at least 1 and at least 0"
            )
        self._images = images
        self._domains = tuple(domains)
        self._frames_per_domain = frames_per_domain
        self._seed = seed
        self._selections = [
            deal(generator(seed, domain), len(images), frames_per_domain) for domain in range(len(domains))
        ]

    def __len__(self) -> int:
        return len(self._domains) * self._frames_per_domain

    def __getitem__(self, index: int) -> LabelledImage:
        frame = range(len(self))[index]
        place, turn = divmod(frame, self._frames_per_domain)
        position = int(self._selections[place][turn])
        showing = turn // len(self._images)
        domain = self._domains[place]
        rng = generator(self._seed, place, position, showing)
        return LabelledImage(
            image=domain.show(domain.original(self._images, position), rng),
            label=int(self._images.labels[position]),
            domain=domain.name,
            picture=int(self._images.ids[position]),
            time=float(frame),
            severity=domain.severity,
        )

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self[index] for index in range(len(self)))


def deal(rng: np.random.Generator, pictures: int, frames: int) -> NDArray[np.int64]:
    """`frames` positions of `pictures` pictures in whole shuffles: none comes again before all came."""
    shuffles = [rng.permutation(pictures) for _ in range(-(-frames // pictures))]
    return np.concatenate(shuffles)[:frames]
