"""Paired bootstrap of a difference in error, over pictures.

The frames of one picture (its corruptions, the frames of its clip) share what makes it hard, so resampling frames
would give intervals that are too narrow. A drawn picture brings all its frames along, in all domains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moase_edge.errors import ConfigError
from moase_edge.metrics.domains import domain_index

# Multiplicities that are held at a time: 32 MB.
_BLOCK = 4_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference in error with its interval, in percent points; negative: the method errs less than the source.

    `low` and `high` are NaN where the frames come from fewer than two pictures: nothing can be resampled.
    """

    points: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Method minus source.

    Attributes:
        by_domain: for each domain that has frames.
        mean: over these domains, each counting once.
    """

    by_domain: dict[str, Difference]
    mean: Difference


def paired_difference(
    wrong: ArrayLike,
    source_wrong: ArrayLike,
    domain: ArrayLike,
    picture: ArrayLike,
    *,
    domains: Sequence[str],
    rng: np.random.Generator,
    samples: int = 2000,
    coverage: float = 0.95,
) -> PairedDifference:
    """Percentile intervals (Efron 1979) of the difference in error on the same frames, resampling pictures.

    The same draw of pictures serves all domains, so that the interval of the mean knows of their dependence. A
    draw in which a domain has no frame counts for the other domains alone. Percentile intervals are somewhat too
    narrow below about 20 pictures.

    Args:
        wrong: (n,) bool, whether the method's answer is not the label.
        source_wrong: (n,) bool, the same of the source on the same frames.
        domain: (n,) index into `domains`.
        picture: (n,) which picture each frame was made from, any integers.
        domains: names.
        rng: draws the samples.
        samples: how many draws.
        coverage: of the interval, between 0 and 1.

    Raises:
        ConfigError: shapes that differ, no frames, an index out of range, no samples, or no such coverage.
    """
    method, source = np.asarray(wrong, dtype=bool), np.asarray(source_wrong, dtype=bool)
    places, pictures = domain_index(domain, domains), np.asarray(picture)
    _check_arrays(method, source, places, pictures)
    _check_interval(samples, coverage)
    change = method.astype(np.float64) - source
    sums, frames = _by_picture(change, places, pictures, len(domains))
    seen = frames.sum(axis=0) > 0
    names = [name for name, present in zip(domains, seen, strict=True) if present]
    sums, frames = sums[:, seen], frames[:, seen]
    return _intervals(names, sums, frames, _draw(sums, frames, rng, samples), coverage)


def difference_in_error(
    wrong: ArrayLike,
    source_wrong: ArrayLike,
    picture: ArrayLike,
    *,
    rng: np.random.Generator,
    samples: int = 2000,
    coverage: float = 0.95,
) -> Difference:
    """The same of all frames together; arguments and errors as of `paired_difference`."""
    one = np.zeros(np.shape(picture), dtype=np.int64)
    return paired_difference(
        wrong, source_wrong, one, picture, domains=("all",), rng=rng, samples=samples, coverage=coverage
    ).mean


def _check_arrays(
    wrong: NDArray[np.bool_], source: NDArray[np.bool_], domain: NDArray[np.int64], picture: NDArray[np.int64]
) -> None:
    shapes = [array.shape for array in (wrong, source, domain, picture)]
    if len(set(shapes)) > 1 or not wrong.size:
        raise ConfigError(
            f"got errors, errors of the source, domains and pictures of shapes {shapes}; "
            "expected one of each a frame, and at least one frame"
        )


def _check_interval(samples: int, coverage: float) -> None:
    if samples < 1 or not 0.0 < coverage < 1.0:
        raise ConfigError(f"got {samples} samples and a coverage of {coverage}; expected at least 1 and 0 .. 1")


def _by_picture(
    change: NDArray[np.float64], domain: NDArray[np.int64], picture: NDArray[np.int64], domains: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of changes and number of frames: each (pictures, domains)."""
    distinct, index = np.unique(picture, return_inverse=True)
    cells = index * domains + domain
    size = len(distinct) * domains
    sums = np.bincount(cells, weights=change, minlength=size).astype(np.float64)
    frames = np.bincount(cells, minlength=size).astype(np.float64)
    return sums.reshape(-1, domains), frames.reshape(-1, domains)


def _draw(
    sums: NDArray[np.float64], frames: NDArray[np.float64], rng: np.random.Generator, samples: int
) -> NDArray[np.float64]:
    """Difference in percent points, (samples, domains); NaN where a draw leaves a domain without frames.

    All sums are of whole numbers, hence exact: the result does not depend on the threads of the product.
    """
    pictures = len(sums)
    chances = np.full(pictures, 1.0 / pictures)
    drawn = np.full((samples, sums.shape[1]), math.nan)
    step = max(1, _BLOCK // pictures)
    for begin in range(0, samples, step):
        block = drawn[begin : begin + step]
        times = rng.multinomial(pictures, chances, size=len(block)).astype(np.float64)
        count = times @ frames
        np.divide(100.0 * (times @ sums), count, out=block, where=count > 0)
    return drawn


def _intervals(
    names: Sequence[str],
    sums: NDArray[np.float64],
    frames: NDArray[np.float64],
    drawn: NDArray[np.float64],
    coverage: float,
) -> PairedDifference:
    tails = (50.0 * (1.0 - coverage), 50.0 * (1.0 + coverage))
    points = 100.0 * sums.sum(axis=0) / frames.sum(axis=0)
    enough = np.count_nonzero(frames, axis=0) > 1
    by_domain = {
        name: _difference(points[i], drawn[:, i], tails, enough=bool(enough[i])) for i, name in enumerate(names)
    }
    mean = _difference(points.mean(), _mean_of_present(drawn), tails, enough=bool(enough.all()))
    return PairedDifference(by_domain, mean)


def _mean_of_present(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the domains that have frames in a draw; every draw has at least one."""
    means: NDArray[np.float64] = np.nanmean(drawn, axis=1)
    return means


def _difference(
    points: float, drawn: NDArray[np.float64], tails: tuple[float, float], *, enough: bool
) -> Difference:
    known = drawn[~np.isnan(drawn)]
    if not enough or not len(known):
        return Difference(float(points), math.nan, math.nan)
    low, high = np.percentile(known, tails)
    return Difference(float(points), float(low), float(high))
