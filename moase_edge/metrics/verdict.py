"""Whether a few labelled pictures show a difference in error, and what they could have shown."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moase_edge.metrics.bootstrap import Difference, difference_in_error

VerdictName = Literal["helps", "harms", "unseen"]

LEAST_TURNED = 6
"""So many pictures have to turn right or wrong before an interval may leave 0 out: six coins fall alike in 3.1 %
of all throws, five in 6.3 %. A bootstrap alone calls four that turned alike a difference: 12.5 %."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What pictures say of a method against a baseline. Differences in percent points of error.

    Attributes:
        name: `helps` where the interval lies below 0, `harms` above; `unseen` where it holds 0.
        difference: with its interval. Where fewer than `LEAST_TURNED` pictures turned, resampling knows too few
            ways in which they can turn: the interval then holds at least `unlikely` on both sides of 0.
        pictures: how many were judged, n.
        turned: how many of them are answered right by one and wrong by the other, in any of their frames.
        unlikely: what no picture that turned would exclude: a share p of pictures that turn shows itself in n
            pictures with probability 1 - (1 - p)^n; above `unlikely` that is more than the coverage. Close to 3/n
            at 95 %.
        visible: about the smallest difference that so many pictures would have shown: half the interval's width,
            and while fewer than `LEAST_TURNED` turned, at least their share.
        needed: about how many pictures would show a difference of this size, in half of all tries; None where it
            is shown already, or where there is none.
    """

    name: VerdictName
    difference: Difference
    pictures: int
    turned: int
    unlikely: float
    visible: float
    needed: int | None


def judge(
    wrong: ArrayLike,
    baseline_wrong: ArrayLike,
    picture: ArrayLike,
    *,
    rng: np.random.Generator,
    samples: int = 2000,
    coverage: float = 0.95,
) -> Verdict:
    """Compare errors on the same frames, resampling pictures (see `paired_difference`).

    Where there is no difference and a picture turns with a chance of 5 to 40 %, `helps` or `harms` came out for at
    most 5 % of 2000 simulated sets each of 10 to 200 pictures; by the bootstrap alone, for up to 7 %.

    Args:
        wrong, baseline_wrong: (n,) bool.
        picture: (n,) which picture each frame shows, any integers; pictures count as independent.
        rng, samples, coverage: of the interval.

    Raises:
        ConfigError: shapes that differ, no frames, or settings out of range.
    """
    drawn = difference_in_error(wrong, baseline_wrong, picture, rng=rng, samples=samples, coverage=coverage)
    turns = np.not_equal(np.asarray(wrong, dtype=bool), np.asarray(baseline_wrong, dtype=bool))
    pictures, turned = _count(np.asarray(picture), turns)
    unlikely = 100.0 * (1.0 - (1.0 - coverage) ** (1.0 / pictures))
    difference = drawn if turned >= LEAST_TURNED else _widened(drawn, unlikely)
    name = _name(difference)
    least = 0.0 if turned >= LEAST_TURNED else 100.0 * LEAST_TURNED / pictures
    return Verdict(
        name=name,
        difference=difference,
        pictures=pictures,
        turned=turned,
        unlikely=unlikely,
        visible=max((difference.high - difference.low) / 2, least),
        needed=_needed(drawn, pictures, turned) if name == "unseen" else None,
    )


def _count(picture: NDArray[np.int64], turns: NDArray[np.bool_]) -> tuple[int, int]:
    """Distinct pictures, and those with a frame that turned."""
    return len(np.unique(picture)), len(np.unique(picture[turns]))


def _widened(drawn: Difference, least: float) -> Difference:
    """The interval, made to hold `least` on both sides of 0."""
    low, high = _ends(drawn)
    return replace(drawn, low=min(-least, low), high=max(least, high))


def _ends(drawn: Difference) -> tuple[float, float]:
    """Of the interval; a single picture has none but its own difference."""
    return (drawn.points, drawn.points) if math.isnan(drawn.low) else (drawn.low, drawn.high)


def _name(difference: Difference) -> VerdictName:
    if difference.high < 0:
        return "helps"
    return "harms" if difference.low > 0 else "unseen"


def _needed(drawn: Difference, pictures: int, turned: int) -> int | None:
    """Pictures at which enough turn, and the interval, narrowing with their square root, leaves 0 out."""
    points = drawn.points
    if points == 0:
        return None
    low, high = _ends(drawn)
    reach = high - points if points < 0 else points - low
    for_interval = pictures * (reach / points) ** 2
    return max(math.ceil(for_interval), math.ceil(pictures * LEAST_TURNED / turned), pictures + 1)
