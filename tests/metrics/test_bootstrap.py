from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.errors import ConfigError
from moase_edge.metrics.bootstrap import Difference, PairedDifference, paired_difference

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
NAMES = ("fog", "snow")


def stream(
    pictures: int, copies: int, seed: int, *, error: float = 0.3, source_error: float = 0.5
) -> tuple[Bools, Bools, Ints, Ints]:
    """Errors of method and source, domains, pictures: `copies` frames a picture and domain that err alike."""
    rng = np.random.default_rng(seed)
    hardness = rng.random(pictures)
    picture = np.tile(np.repeat(np.arange(pictures), copies), len(NAMES))
    domain = np.repeat(np.arange(len(NAMES)), pictures * copies)
    return hardness[picture] < error, hardness[picture] < source_error, domain, picture


def compared(frames: tuple[Bools, Bools, Ints, Ints], *, seed: int = 0, samples: int = 500) -> PairedDifference:
    rng = np.random.default_rng(seed)
    return paired_difference(*frames, domains=NAMES, rng=rng, samples=samples)


def test_the_difference_is_method_minus_source_in_points_by_domain_and_in_the_mean() -> None:
    wrong = [True, False, False, False, True, True]
    source_wrong = [True, True, False, True, False, True]
    found = compared((np.array(wrong), np.array(source_wrong), np.array([0, 0, 0, 0, 1, 1]), np.arange(6)))
    # fog: 1 of 4 against 3 of 4; snow: 2 of 2 against 1 of 2; each domain counts once.
    assert found.by_domain["fog"].points == -50.0
    assert found.by_domain["snow"].points == 50.0
    assert found.mean.points == 0.0


def test_the_interval_holds_the_difference_and_widens_with_coverage() -> None:
    frames = stream(60, 2, seed=3)
    wide, narrow = (
        paired_difference(*frames, domains=NAMES, rng=np.random.default_rng(0), coverage=coverage).mean
        for coverage in (0.95, 0.5)
    )
    assert wide.low < narrow.low < wide.points < narrow.high < wide.high


def test_the_interval_is_the_percentile_of_draws_of_pictures() -> None:
    # Two pictures, one better by 100 points: a draw holds it 0, 1 or 2 times with chances 1/4, 1/2, 1/4.
    frames = (np.array([False, True]), np.array([True, True]), np.array([0, 0]), np.array([4, 9]))
    half = paired_difference(*frames, domains=NAMES, rng=np.random.default_rng(0), coverage=0.4).mean
    most = paired_difference(*frames, domains=NAMES, rng=np.random.default_rng(0), coverage=0.9).mean
    assert half == Difference(-50.0, -50.0, -50.0)
    assert most == Difference(-50.0, -100.0, 0.0)


def test_no_difference_has_an_interval_of_exactly_zero() -> None:
    wrong, _, domain, picture = stream(40, 3, seed=1)
    found = compared((wrong, wrong, domain, picture))
    assert [found.mean, *found.by_domain.values()] == [Difference(0.0, 0.0, 0.0)] * 3


def test_one_picture_has_a_difference_but_no_interval() -> None:
    frames = (np.array([True, True]), np.array([False, False]), np.array([0, 0]), np.array([7, 7]))
    found = compared(frames)
    for difference in (found.mean, found.by_domain["fog"]):
        assert difference.points == 100.0
        assert math.isnan(difference.low)
        assert math.isnan(difference.high)


def test_a_domain_of_one_picture_leaves_the_others_their_interval_and_the_mean_none() -> None:
    wrong, source_wrong = np.array([True, False, True]), np.array([False, False, False])
    found = compared((wrong, source_wrong, np.array([0, 0, 1]), np.array([1, 2, 3])))
    assert (found.by_domain["fog"].low, found.by_domain["fog"].high) == (0.0, 100.0)
    assert math.isnan(found.by_domain["snow"].low)
    assert math.isnan(found.mean.high)


def test_repeated_frames_of_a_picture_do_not_shrink_the_interval() -> None:
    once, often = compared(stream(50, 1, seed=2)), compared(stream(50, 12, seed=2))
    assert once == often
    wrong, source_wrong, domain, _ = stream(50, 12, seed=2)
    naive = compared((wrong, source_wrong, domain, np.arange(len(wrong))))
    assert naive.mean.high - naive.mean.low < 0.5 * (often.mean.high - often.mean.low)


def test_intervals_cover_the_known_difference_about_95_times_in_100() -> None:
    covered = [compared(stream(80, 4, seed=seed), seed=seed, samples=300).mean for seed in range(300)]
    share = np.mean([found.low <= -20.0 <= found.high for found in covered])
    assert 0.91 <= share <= 0.98


def test_intervals_by_frame_would_cover_far_less() -> None:
    hits = []
    for seed in range(100):
        wrong, source_wrong, domain, _ = stream(80, 4, seed=seed)
        mean = compared((wrong, source_wrong, domain, np.arange(len(wrong))), seed=seed, samples=300).mean
        hits.append(mean.low <= -20.0 <= mean.high)
    assert np.mean(hits) < 0.7


def test_domains_share_a_draw_so_that_opposite_differences_cancel_in_every_sample() -> None:
    better = np.random.default_rng(0).random(30) < 0.5
    none = np.zeros(30, dtype=bool)
    wrong, source_wrong = np.concatenate([better, none]), np.concatenate([none, better])
    found = compared((wrong, source_wrong, np.repeat([0, 1], 30), np.tile(np.arange(30), 2)))
    assert found.by_domain["fog"].high - found.by_domain["fog"].low > 20.0
    assert found.mean == Difference(0.0, 0.0, 0.0)


def test_a_draw_without_frames_of_a_domain_counts_for_the_others() -> None:
    wrong = np.array([True, False, True, False])
    frames = (wrong, np.zeros(4, dtype=bool), np.array([0, 0, 1, 1]), np.arange(4))
    found = compared(frames, samples=2000)
    assert [found.by_domain[name] for name in NAMES] == [Difference(50.0, 0.0, 100.0)] * 2
    assert found.mean == Difference(50.0, 0.0, 100.0)


def test_a_domain_without_frames_is_not_reported() -> None:
    found = compared((np.array([True, False]), np.array([False, False]), np.array([1, 1]), np.array([0, 1])))
    assert list(found.by_domain) == ["snow"]
    assert found.mean.points == 50.0


def test_the_same_generator_gives_the_same_interval_and_blocks_of_draws_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = stream(30, 2, seed=5)
    whole = compared(frames, seed=1)
    assert compared(frames, seed=1) == whole
    assert compared(frames, seed=2) != whole
    monkeypatch.setattr("moase_edge.metrics.bootstrap._BLOCK", 70)
    assert compared(frames, seed=1) == whole


def test_frames_that_do_not_fit_and_settings_out_of_range_are_refused() -> None:
    wrong, source_wrong, domain, picture = stream(5, 1, seed=0)
    with pytest.raises(ConfigError, match="one of each a frame"):
        compared((wrong[1:], source_wrong, domain, picture))
    with pytest.raises(ConfigError, match="at least one frame"):
        compared((wrong[:0], source_wrong[:0], domain[:0], picture[:0]))
    with pytest.raises(ConfigError, match="expected 0 to 1"):
        compared((wrong, source_wrong, domain + 1, picture))
    with pytest.raises(ConfigError, match="0 samples"):
        compared((wrong, source_wrong, domain, picture), samples=0)
    with pytest.raises(ConfigError, match=r"coverage of 1\.0"):
        paired_difference(
            wrong, source_wrong, domain, picture, domains=NAMES, rng=np.random.default_rng(0), coverage=1.0
        )
