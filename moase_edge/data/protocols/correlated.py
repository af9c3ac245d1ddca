"""Streams whose neighbours are likely of one class, as a camera's are: sorted by class, or by a Dirichlet draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from moase_edge.data.labelled import Domain, PictureSet
from moase_edge.data.protocols.stream import (
    Fit,
    Schedule,
    Stream,
    at_least,
    chosen_pictures,
    make_stream,
)
from moase_edge.errors import ConfigError

MOST_SLOTS = 100


def class_sorted(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
) -> Stream:
    """The continual stream with each domain sorted by class index; within a class pictures are shuffled.

    The hardest correlation there is: a domain shows each class once, in one piece. Where each class has a single
    picture, only the order of classes is fixed, and `clips` is the correlated stream. Arguments and errors are
    those of `continual`.
    """
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    schedule = Schedule.in_turn(len(domains), partial(by_class, images.labels), seed=seed)
    return make_stream("class_sorted", images, domains, schedule, seed=seed, settings={"limit": limit}, fit=fit)


def dirichlet(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
    delta: float = 0.1,
    slots: int | None = None,
) -> Stream:
    """The continual stream with classes gathered in time, as in RoTTA and NOTE.

    A domain is cut into slots of time. How much of a class falls into each slot is drawn from a symmetric
    Dirichlet distribution with parameter `delta`; within a slot each class stands in one piece, and the pieces are
    shuffled (RoTTA, arXiv 2303.13899; the authors of NOTE, arXiv 2208.05117, moreover balance the slots' sizes).
    A small `delta` puts a class into a single slot, so that the domain is sorted by class; a large one gives every
    slot as many of each class, and then the pieces still hold N / (classes * slots) pictures: more slots bring the
    stream closer to an independent one.

    Args:
        delta: above 0; 0.1 in both papers.
        slots: at least 1; None takes as many as there are classes among the pictures, at most 100, as RoTTA does.
        Others are those of `continual`, and so are the errors.
    """
    if not isinstance(delta, (int, float)) or not 0 < delta < math.inf:
        raise ConfigError(f"delta is {delta!r}; expected a number above 0, such as 0.1")
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    count = min(len(np.unique(images.labels)), MOST_SLOTS) if slots is None else slots
    at_least(1, slots=count)
    schedule = Schedule.in_turn(len(domains), partial(_gathered, images.labels, delta, count), seed=seed)
    settings = {"limit": limit, "delta": delta, "slots": count}
    return make_stream("dirichlet", images, domains, schedule, seed=seed, settings=settings, fit=fit)


def by_class(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions sorted by label; those of one label shuffled."""
    shuffled = rng.permutation(len(labels))
    return shuffled[np.argsort(labels[shuffled], kind="stable")]


def _gathered(labels: NDArray[np.int64], delta: float, slots: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions slot after slot, each class of a slot in one piece."""
    pieces: list[list[NDArray[np.int64]]] = [[] for _ in range(slots)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(slots, delta))
        # Rounded, not cut off: shares that sum to almost 1 would leave one picture to the next slot.
        bounds = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for slot, piece in zip(pieces, np.split(members, bounds), strict=True):
            slot.append(piece)
    return np.concatenate([slot[i] for slot in pieces for i in rng.permutation(len(slot))])
