"""What every protocol makes: a stream, which is a schedule and the way to make each frame of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import overload
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from moase_edge.data.chance import generator
from moase_edge.data.labelled import Domain, LabelledImage, PictureSet
from moase_edge.data.selection import limited
from moase_edge.errors import ConfigError

Fit = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Brings a picture to the size that the model sees, such as `partial(fit_to_model, spec=spec)`."""

View = Callable[[NDArray[np.uint8], int, np.random.Generator], NDArray[np.uint8]]
"""What the camera sees of a picture at one step of a clip; the generator is the same at every step."""

Window = Callable[[NDArray[np.uint8], NDArray[np.uint8], int], NDArray[np.uint8]]
"""What the camera sees of a fitted picture and of the one beside it at one step of its way between them."""

Order = Callable[[np.random.Generator], NDArray[np.int64]]
"""Draws the positions of the pictures that one visit to a domain shows, in order."""

Setting = int | float | str | None


class Chance(IntEnum):
    """First number of a generator's key: what is drawn."""

    ORDER = 0
    FRAME = 1
    PATH = 2


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """What each of F frames shows.

    Attributes:
        domain: (F,) int64, index into the stream's domains.
        position: (F,) int64, of the picture in the stream's set.
        step: (F,) int64, of the frame in its clip; 0 where frames are no clips.
        beside: (F,) int64, position of the picture that may be in view too; None where a frame shows one only.
    """

    domain: NDArray[np.int64]
    position: NDArray[np.int64]
    step: NDArray[np.int64]
    beside: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, visits: Sequence[tuple[int, NDArray[np.int64]]]) -> Schedule:
        """One visit after the other: (domain, positions in order)."""
        domain = np.repeat([domain for domain, _ in visits], [len(positions) for _, positions in visits])
        position = np.concatenate([positions for _, positions in visits])
        return cls(domain.astype(np.int64), position, np.zeros(len(position), np.int64))

    @classmethod
    def in_turn(cls, domains: int, order: Order, *, seed: int, rounds: int = 1) -> Schedule:
        """Domain after domain, round after round, each visit in an order of its own.

        No visit depends on how many follow.
        """
        visits = range(domains * rounds)
        return cls.of([(visit % domains, order(generator(seed, Chance.ORDER, visit))) for visit in visits])


@dataclass(frozen=True, slots=True, eq=False)
class Stream(Sequence[LabelledImage]):
    """Labelled frames in a fixed order, each made when it is asked for.

    `stream[i]` is the same to the bit whichever frames were made before it. The chance in a frame depends only on
    the seed, its domain and severity, its picture, its step in a clip, and on how often all this came before:
    protocols that show the same pictures show the same frames, in another order.

    Attributes:
        name: of the protocol.
        images: the pictures, after a limit.
        domains: what the schedule points to.
        schedule: what each frame shows.
        showing: (F,) int64, how often the frame's domain, picture and step came before.
        seed: of order and frames.
        settings: the protocol's own options.
        fit: applied to each picture before its shift.
        view: applied before `fit`, on the picture as it is; None shows all of it.
        rounds: how often the whole is repeated.
        batch_size: how many frames are to be answered together where the protocol says so; None leaves it open.
        window: applied after `fit`, on the frame's picture and the one beside it; None where there is none beside.
    """

    name: str
    images: PictureSet
    domains: tuple[Domain, ...]
    schedule: Schedule
    showing: NDArray[np.int64]
    seed: int
    settings: Mapping[str, Setting]
    fit: Fit | None = None
    view: View | None = None
    rounds: int = 1
    batch_size: int | None = None
    window: Window | None = None

    def __len__(self) -> int:
        return len(self.schedule.domain)

    @property
    def domain_names(self) -> tuple[str, ...]:
        """Each name once, in order of first appearance."""
        indices, first = np.unique(self.schedule.domain, return_index=True)
        in_order = indices[np.argsort(first)]
        return tuple(dict.fromkeys(self.domains[index].name for index in in_order))

    @property
    def labels(self) -> NDArray[np.int64]:
        """(F,) class of each frame; no frame is made for it."""
        return self.images.labels[self.schedule.position]

    @property
    def pictures(self) -> NDArray[np.int64]:
        """(F,) what each frame has as its `picture`; no frame is made for it."""
        return self.images.ids[self.schedule.position]

    @property
    def places(self) -> NDArray[np.int64]:
        """(F,) index into `domain_names` of each frame's domain; no frame is made for it."""
        names = self.domain_names
        place = np.array([names.index(domain.name) for domain in self.domains], np.int64)
        return place[self.schedule.domain]

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...

    @overload
    def __getitem__(self, index: slice) -> list[LabelledImage]: ...

    def __getitem__(self, index: int | slice) -> LabelledImage | list[LabelledImage]:
        """Frame `index`, or several; negative ones count from the end.

        Raises:
            IndexError: there is no such frame.
            ConfigError: a shift returned something other than a picture, or two pictures of different size are to
                stand side by side.
            SourceError: the picture cannot be read.
        """
        frames = range(len(self))[index]
        return self._frame(frames) if isinstance(frames, int) else [self._frame(frame) for frame in frames]

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self._frame(frame) for frame in range(len(self)))

    def _frame(self, frame: int) -> LabelledImage:
        domain = self.domains[self.schedule.domain[frame]]
        position = int(self.schedule.position[frame])
        step, showing = int(self.schedule.step[frame]), int(self.showing[frame])
        picture = int(self.images.ids[position])
        key = (crc32(domain.name.encode()), domain.severity or 0, picture, showing)
        image = domain.original(self.images, position)
        if self.view is not None:
            image = self.view(image, step, generator(self.seed, Chance.PATH, *key))
        image = self._fitted(image)
        if self.window is not None and self.schedule.beside is not None:
            beside = domain.original(self.images, int(self.schedule.beside[frame]))
            image = self.window(image, self._fitted(beside), step)
        return LabelledImage(
            image=domain.show(image, generator(self.seed, Chance.FRAME, *key, step)),
            label=int(self.images.labels[position]),
            domain=domain.name,
            picture=picture,
            time=float(frame),
            severity=domain.severity,
            round=frame * self.rounds // len(self),
        )

    def _fitted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image if self.fit is None else self.fit(image)


def make_stream(
    name: str,
    images: PictureSet,
    domains: Sequence[Domain],
    schedule: Schedule,
    *,
    seed: int,
    settings: Mapping[str, Setting],
    fit: Fit | None = None,
    view: View | None = None,
    rounds: int = 1,
    batch_size: int | None = None,
    window: Window | None = None,
) -> Stream:
    """Complete a schedule to a stream by counting which showing of its content each frame is."""
    showing = _occurrences(_content(len(images), domains, schedule))
    return Stream(
        name=name,
        images=images,
        domains=tuple(domains),
        schedule=schedule,
        showing=showing,
        seed=seed,
        settings=dict(settings),
        fit=fit,
        view=view,
        rounds=rounds,
        batch_size=batch_size,
        window=window,
    )


def chosen_pictures(images: PictureSet, domains: Sequence[Domain], *, seed: int, limit: int | None) -> PictureSet:
    """Check what all protocols are given, and take at most `limit` pictures by seed.

    Raises:
        ConfigError: no pictures, no domains, a seed or limit out of range, or a domain read from disk that lacks
            pictures of the set.
    """
    if not len(images) or not domains:
        raise ConfigError(
            f"a stream of {len(domains)} domains over {len(images)} pictures; give at least one of each"
        )
    if seed < 0:
        raise ConfigError(f"seed is {seed}; expected at least 0")
    for domain in domains:
        if domain.pictures is not None and len(domain.pictures) <= images.ids.max():
            raise ConfigError(
                f"domain {domain.name!r} has {len(domain.pictures)} pictures, but picture {images.ids.max()} "
                "is to be shown; give pictures and domains of the same data set"
            )
    return limited(images, limit, seed)


def at_least(least: int, **options: object) -> None:
    """Refuse options that are no whole number of at least `least`.

    Raises:
        ConfigError: naming the first of them.
    """
    for name, value in options.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or int(value) < least:  # type: ignore[call-overload]
            raise ConfigError(f"{name} is {value!r}; expected a whole number of at least {least}")


def _content(pictures: int, domains: Sequence[Domain], schedule: Schedule) -> NDArray[np.int64]:
    """(F,) one number for each distinct domain, severity, picture and step."""
    kinds: dict[tuple[str, int | None], int] = {}
    kind = np.array([kinds.setdefault((domain.name, domain.severity), len(kinds)) for domain in domains])
    steps = int(schedule.step.max()) + 1
    content: NDArray[np.int64] = (kind[schedule.domain] * pictures + schedule.position) * steps + schedule.step
    return content


def _occurrences(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """(F,) how often each value came before: 7 7 3 7 becomes 0 1 0 2."""
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    starts = np.flatnonzero(np.diff(sorted_values, prepend=sorted_values[:1] - 1))
    lengths = np.diff(starts, append=len(values))
    occurrences = np.empty(len(values), np.int64)
    occurrences[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return occurrences
