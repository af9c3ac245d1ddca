"""One domain after the other: continual, single-frame, cyclic and gradual."""

from __future__ import annotations

from collections.abc import Sequence

from moase_edge.data.chance import generator
from moase_edge.data.labelled import Domain, PictureSet, deal
from moase_edge.data.protocols.stream import (
    Chance,
    Fit,
    Order,
    Schedule,
    Stream,
    at_least,
    chosen_pictures,
    make_stream,
)
from moase_edge.errors import ConfigError

SEVERITIES_UP_AND_DOWN = (1, 2, 3, 4, 5, 4, 3, 2, 1)


def continual(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
) -> Stream:
    """Domains in the order given, each shows every picture once, shuffled anew (CoTTA, arXiv 2203.13591).

    A domain may stand in the list again, such as clean pictures at the end: it then shows the same pictures in
    another order, with new chance in them.

    Args:
        images: what the frames are made of.
        domains: at least one.
        seed: at least 0; of the limit, the order and the frames.
        limit: how many pictures are used, drawn by seed; None uses all.
        fit: brings a picture to the model's size before it is shifted; None leaves it as it is.

    Raises:
        ConfigError: arguments out of range, or domains that do not belong to `images`.
    """
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    schedule = Schedule.in_turn(len(domains), _shuffled(images), seed=seed)
    return make_stream("continual", images, domains, schedule, seed=seed, settings={"limit": limit}, fit=fit)


def single_frame(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
) -> Stream:
    """The continual stream, answered and learned from one frame at a time (`batch_size` 1).

    The method is not reset in between: what it learned from one frame serves the next. Frames and order are those
    of `continual`; arguments and errors too.
    """
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    schedule = Schedule.in_turn(len(domains), _shuffled(images), seed=seed)
    settings = {"limit": limit}
    return make_stream(
        "single_frame", images, domains, schedule, seed=seed, settings=settings, fit=fit, batch_size=1
    )


def cyclic(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
    rounds: int = 3,
) -> Stream:
    """The continual stream several times over, as ACDC is streamed in CoTTA (arXiv 2203.13591).

    Each round shows the same pictures in another order, with new chance in them; the first is that of `continual`.

    Args:
        rounds: at least 1. Others are those of `continual`, and so are the errors.
    """
    at_least(1, rounds=rounds)
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    schedule = Schedule.in_turn(len(domains), _shuffled(images), seed=seed, rounds=rounds)
    settings = {"limit": limit, "rounds": rounds}
    return make_stream("cyclic", images, domains, schedule, seed=seed, settings=settings, fit=fit, rounds=rounds)


def gradual(
    images: PictureSet,
    domains: Sequence[Domain],
    *,
    seed: int,
    limit: int | None = None,
    fit: Fit | None = None,
    frames_per_step: int | None = None,
) -> Stream:
    """Each domain at severity 1 2 3 4 5 4 3 2 1, then the next (CoTTA, arXiv 2203.13591).

    Args:
        domains: all with severities; the one that each stands at is ignored.
        frames_per_step: frames of each of the nine steps, dealt so that no picture comes again before all came;
            None shows every picture once in each step.
        Others are those of `continual`.

    Raises:
        ConfigError: as `continual`, or a domain without severities.
    """
    images = chosen_pictures(images, domains, seed=seed, limit=limit)
    frames = len(images) if frames_per_step is None else frames_per_step
    at_least(1, frames_per_step=frames)
    levels = [_at(domain, severity) for domain in domains for severity in range(1, 6)]
    visits = []
    for place in range(len(domains)):
        rng = generator(seed, Chance.ORDER, place)
        dealt = deal(rng, len(images), frames * len(SEVERITIES_UP_AND_DOWN))
        for step, severity in enumerate(SEVERITIES_UP_AND_DOWN):
            visits.append((place * 5 + severity - 1, dealt[step * frames : (step + 1) * frames]))
    settings = {"limit": limit, "frames_per_step": frames_per_step}
    return make_stream("gradual", images, levels, Schedule.of(visits), seed=seed, settings=settings, fit=fit)


def _shuffled(images: PictureSet) -> Order:
    """Every picture once."""
    return lambda rng: rng.permutation(len(images))


def _at(domain: Domain, severity: int) -> Domain:
    if domain.at is None:
        raise ConfigError(
            f"domain {domain.name!r} has no severities, which the gradual protocol goes up and down; "
            "leave it out there"
        )
    return domain.at(severity)
