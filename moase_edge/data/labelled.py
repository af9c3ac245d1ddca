"""Labelled pictures, and the stream of changing domains that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import ConfigError

Shift = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]
"""Takes a picture, H x W x 3, RGB, uint8, that it may change in place; returns one of the same kind."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Pictures in memory with their classes.

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
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise ConfigError(
                f"pictures have shape {images.shape} and dtype {images.dtype}; expected N x H x W x 3, uint8"
            )
        if labels.shape != images.shape[:1] or labels.dtype != np.int64:
            raise ConfigError(
                f"labels have shape {labels.shape} and dtype {labels.dtype}; "
                f"expected one int64 for each of the {len(images)} pictures"
            )
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(self.names)):
            raise ConfigError(
                f"labels run from {labels.min()} to {labels.max()}; "
                f"expected 0 to {len(self.names) - 1}, an index into the {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One picture of a labelled stream.

    Attributes:
        image: H x W x 3, RGB, uint8, C-contiguous; owned by the receiver.
        label: class index.
        domain: name of the shift that it shows.
    """

    image: NDArray[np.uint8]
    label: int
    domain: str


@dataclass(frozen=True, slots=True)
class Domain:
    """A shift with its name, such as a corruption at one severity."""

    name: str
    apply: Shift


def unchanged(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:  # noqa: ARG001
    """The shift of the source domain: none."""
    return image


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

    def __init__(
        self, images: LabelledImages, domains: Sequence[Domain], frames_per_domain: int, seed: int
    ) -> None:
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
        self._selections = [self._select(domain) for domain in range(len(self._domains))]

    def __len__(self) -> int:
        return len(self._domains) * self._frames_per_domain

    def __getitem__(self, index: int) -> LabelledImage:
        domain, position = divmod(range(len(self))[index], self._frames_per_domain)
        picture = int(self._selections[domain][position])
        showing = position // len(self._images)
        shift = self._domains[domain]
        image = shift.apply(self._images.images[picture].copy(), self._generator(domain, picture, showing))
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ConfigError(
                f"domain {shift.name!r} made a picture of shape {image.shape} and dtype {image.dtype}; "
                "expected H x W x 3, uint8"
            )
        return LabelledImage(np.ascontiguousarray(image), int(self._images.labels[picture]), shift.name)

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self[index] for index in range(len(self)))

    def _select(self, domain: int) -> NDArray[np.int64]:
        """The pictures of one domain in order: whole shuffles of all of them, as many as its length takes."""
        rng = self._generator(domain)
        showings = -(-self._frames_per_domain // len(self._images))
        shuffles = [rng.permutation(len(self._images)) for _ in range(showings)]
        return np.concatenate(shuffles)[: self._frames_per_domain]

    def _generator(self, *key: int) -> np.random.Generator:
        # A spawn key, not a list of integers as the seed: there trailing zeros do not count, and the first
        # picture of a domain would share its generator with the domain's selection.
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))


def continual(
    images: LabelledImages, domains: Sequence[Domain], frames_per_domain: int, seed: int
) -> Iterator[LabelledImage]:
    """The frames of a `DomainStream` in order, made one at a time; arguments and errors are the same."""
    return iter(DomainStream(images, domains, frames_per_domain, seed))
