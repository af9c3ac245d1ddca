"""Verdicts on pictures whose turns are known."""

from __future__ import annotations

import numpy as np
import pytest

from moase_edge.errors import ConfigError
from moase_edge.metrics.verdict import LEAST_TURNED, Verdict, judge

PICTURES = 40


def verdict(
    mended: int, broken: int, *, pictures: int = PICTURES, times: int = 1, coverage: float = 0.95
) -> Verdict:
    """The first pictures turn right, the next ones wrong, of the others every second is always wrong."""
    wrong, baseline = np.zeros(pictures, dtype=bool), np.zeros(pictures, dtype=bool)
    baseline[:mended] = True
    wrong[mended : mended + broken] = True
    wrong[mended + broken :: 2] = baseline[mended + broken :: 2] = True
    tiled = [np.tile(array, times) for array in (wrong, baseline, np.arange(pictures))]
    return judge(*tiled, rng=np.random.default_rng(0), coverage=coverage)


def test_an_interval_below_zero_helps_and_above_zero_harms() -> None:
    helps, harms = verdict(12, 0), verdict(0, 12)
    assert (helps.name, harms.name) == ("helps", "harms")
    assert (helps.difference.points, harms.difference.points) == (-30, 30)
    assert helps.difference.low < -30 < helps.difference.high < 0 < harms.difference.low
    assert helps.needed is None
    assert helps.visible == (helps.difference.high - helps.difference.low) / 2
    # Binomial: 1.96 standard deviations of 40 draws at 30 %.
    assert helps.visible == pytest.approx(100 * 1.96 * (0.3 * 0.7 / 40) ** 0.5, abs=1.5)


def test_turns_that_cancel_are_no_difference_however_many() -> None:
    found = verdict(10, 10)
    assert (found.name, found.turned, found.difference.points, found.needed) == ("unseen", 20, 0.0, None)
    assert found.difference.low < 0 < found.difference.high


@pytest.mark.parametrize("turned", range(LEAST_TURNED))
def test_fewer_turned_pictures_than_chance_allows_show_nothing(turned: int) -> None:
    found = verdict(turned, 0)
    assert found.name == "unseen"
    assert found.difference.low <= -found.unlikely
    assert found.difference.high >= found.unlikely
    assert found.visible >= 100 * LEAST_TURNED / PICTURES
    assert verdict(LEAST_TURNED, 0).name == "helps"


@pytest.mark.parametrize("pictures", [10, 40, 300])
def test_where_nothing_turned_the_interval_is_the_exact_bound(pictures: int) -> None:
    found = verdict(0, 0, pictures=pictures)
    assert (found.difference.low, found.difference.high) == (-found.unlikely, found.unlikely)
    # A share of pictures as large as the bound leaves no trace in one set of twenty.
    assert (1 - found.unlikely / 100) ** pictures == pytest.approx(0.05)
    assert found.unlikely == pytest.approx(300 / pictures, rel=0.15)  # the rule of three
    assert found.needed is None
    assert verdict(0, 0, pictures=pictures, coverage=0.99).unlikely > found.unlikely


def test_pictures_needed_fall_as_the_difference_grows() -> None:
    needed = [verdict(broken + net, broken).needed for broken, net in ((8, 1), (8, 3), (8, 5))]
    assert all(count is not None and count > PICTURES for count in needed)
    assert needed == sorted(needed, key=lambda count: -(count or 0))
    # 17 turns, one of them for nothing: the half width is near 1.96 sqrt(17) pictures, the difference one.
    assert needed[0] == pytest.approx(PICTURES * 1.96**2 * 17, rel=0.15)


def test_pictures_needed_let_enough_of_them_turn() -> None:
    assert verdict(1, 0).needed == PICTURES * LEAST_TURNED
    assert verdict(3, 0).needed == PICTURES * LEAST_TURNED // 3


def test_frames_of_the_same_pictures_do_not_make_it_surer() -> None:
    once, often = verdict(8, 2), verdict(8, 2, times=5)
    assert once == often
    assert often.pictures == PICTURES


def test_a_picture_that_turns_in_one_of_its_frames_has_turned() -> None:
    wrong, baseline, picture = [True, False, False, False], [False] * 4, [7, 7, 9, 9]
    found = judge(wrong, baseline, picture, rng=np.random.default_rng(0))
    assert (found.turned, found.pictures, found.difference.points) == (1, 2, 25.0)


def test_a_single_picture_is_judged_and_shows_nothing() -> None:
    found = judge([True], [False], [0], rng=np.random.default_rng(0))
    assert found.name == "unseen"
    assert (found.difference.low, found.difference.high) == (pytest.approx(-95.0), 100.0)


def test_chance_alone_seldom_passes_for_a_difference() -> None:
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(200):
        turn = rng.random(PICTURES)
        found = judge(turn < 0.1, turn > 0.9, np.arange(PICTURES), rng=rng, samples=200)
        seen += found.name != "unseen"
    assert seen <= 20  # 5 % would be 10; more than 20 come out once in a thousand


def test_no_frames_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one frame"):
        judge([], [], [], rng=np.random.default_rng(0))
