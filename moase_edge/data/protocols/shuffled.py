"""Domains that alternate: all mixed, or jumping every few frames."""

from __future__ import annotations

from collections.abc import Sequence

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


def mixed(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
) -> Stream:
    """Every picture once in each domain, all in one shuffle (the mixed shifts of SAR, arXiv 2302.12400).

    Arguments and errors are those of `continual`.
    """
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    order = generator(seed, Chance.ORDER).permutation(len(domains) * len(images))
    schedule = Schedule(order // len(images), order % len(images), np.zeros(len(order), np.int64))
    return make_stream("mixed", images, domains, schedule, seed=seed, settings={"limit": limit}, fit=fit)


def jumps(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
    every: int = 20,
) -> Stream:
    """The domain jumps every few frames, as when a camera passes a tunnel; every picture once in each domain.

    Domains come in random order, each once before any comes again, never one after itself. The last stretch of
    each is shorter where the pictures do not divide by `every`.

    Args:
        domains: at least two.
        every: frames from jump to jump, at least 1.
        Others are those of `continual`.

    Raises:
        ConfigError: as `continual`, or a single domain.
    """
    at_least(1, every=every)
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    if len(domains) < 2:
        raise ConfigError("a single domain cannot jump; give at least two, or take the continual protocol")
    orders = [generator(seed, Chance.ORDER, place).permutation(len(images)) for place in range(len(domains))]
    stretches = -(-len(images) // every)
    turns = _turns(generator(seed, Chance.ORDER, len(domains)), len(domains), stretches)
    visits = [
        (place, orders[place][stretch * every : (stretch + 1) * every])
        for stretch, turn in enumerate(turns)
        for place in turn.tolist()
    ]
    settings = {"limit": limit, "every": every}
    return make_stream("jumps", images, domains, Schedule.of(visits), seed=seed, settings=settings, fit=fit)


def _turns(rng: np.random.Generator, domains: int, turns: int) -> list[NDArray[np.int64]]:
    """`turns` shuffles of `domains` domains, none of which begins with the end of the one before it."""
    drawn: list[NDArray[np.int64]] = []
    for _ in range(turns):
        turn = rng.permutation(domains)
        if drawn and turn[0] == drawn[-1][-1]:
            other = int(rng.integers(1, domains))
            turn[0], turn[other] = turn[other], turn[0]
        drawn.append(turn)
    return drawn
