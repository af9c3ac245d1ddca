from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.errors import ConfigError
from moase_edge.metrics.latency import LatencyHistogram, LatencyProfile, LatencySummary

BIN_WIDTH = 0.005
durations = st.lists(st.floats(min_value=1e-3, max_value=1e6), min_size=1, max_size=200)


def filled(values: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    return histogram


def percentiles(summary: LatencySummary) -> dict[int, float]:
    return {50: summary.p50_ms, 90: summary.p90_ms, 95: summary.p95_ms, 99: summary.p99_ms}


def test_ten_durations_give_the_hand_computed_nearest_ranks() -> None:
    summary = filled([float(ms) for ms in range(1, 11)]).summary()
    assert (summary.count, summary.min_ms, summary.max_ms) == (10, 1.0, 10.0)
    assert summary.mean_ms == 5.5
    assert summary.total_ms == 55.0
    assert summary.p50_ms == pytest.approx(5.0, rel=BIN_WIDTH / 2)
    assert summary.p90_ms == pytest.approx(9.0, rel=BIN_WIDTH / 2)
    assert summary.p95_ms == pytest.approx(10.0, rel=BIN_WIDTH / 2)
    assert summary.p99_ms == pytest.approx(10.0, rel=BIN_WIDTH / 2)


@given(durations)
def test_percentiles_agree_with_numpy_within_the_bin_width(values: list[float]) -> None:
    for percent, found in percentiles(filled(values).summary()).items():
        # Slightly below and above, because numpy rounds n * q before it takes the rank.
        below, above = np.percentile(values, [percent - 1e-9, percent + 1e-9], method="inverted_cdf")
        assert below * (1 - BIN_WIDTH) <= found <= above * (1 + BIN_WIDTH)


@given(st.lists(st.floats(min_value=0, max_value=1e9), min_size=1, max_size=100))
def test_percentiles_are_ordered_and_stay_between_minimum_and_maximum(values: list[float]) -> None:
    summary = filled(values).summary()
    ordered = [summary.min_ms, *percentiles(summary).values(), summary.max_ms]
    assert ordered == sorted(ordered)
    assert summary.min_ms == min(values)
    assert summary.max_ms == max(values)
    assert summary.min_ms <= summary.mean_ms <= summary.max_ms


@given(durations)
def test_sum_equals_the_exactly_rounded_sum(values: list[float]) -> None:
    assert filled(values).total_ms == pytest.approx(math.fsum(values), rel=1e-15)


def test_sum_keeps_small_durations_beside_a_large_one() -> None:
    histogram = filled([1e15])
    for _ in range(1000):
        histogram.add(0.01)
    assert histogram.total_ms - 1e15 == pytest.approx(10.0, abs=0.125)


def test_a_single_outlier_is_kept_as_maximum_and_in_the_total() -> None:
    summary = filled([1.0] * 999 + [5000.0]).summary()
    assert summary.max_ms == 5000.0
    assert summary.total_ms == 5999.0
    assert summary.p99_ms == pytest.approx(1.0, rel=BIN_WIDTH)


def test_durations_beyond_the_range_are_counted_and_bounded_by_the_extremes() -> None:
    summary = filled([0.0, 5e-4, 2e6, 3e6]).summary()
    assert summary.count == 4
    assert summary.p50_ms == pytest.approx(1e-3)
    assert summary.p99_ms == 3e6
    assert filled([0.0, 0.0]).summary().p50_ms == 0.0


def test_memory_does_not_grow_with_the_number_of_durations() -> None:
    histogram = filled([1.0])
    before = histogram._counts.nbytes
    for ms in np.geomspace(1e-4, 1e7, 2000):
        histogram.add(float(ms))
    assert histogram._counts.nbytes == before < 40_000
    assert histogram.count == 2001


def test_each_bin_is_at_most_half_a_percent_wide() -> None:
    values = np.geomspace(1e-3, 1e6, 5000)
    found = np.array([filled([ms, 1e6]).summary().p50_ms for ms in values.tolist()])
    assert np.abs(found / values - 1).max() <= BIN_WIDTH / 2 + 1e-9


def test_an_empty_histogram_has_count_zero_and_no_numbers() -> None:
    summary = LatencyHistogram().summary()
    assert (summary.count, summary.total_ms) == (0, 0.0)
    assert all(math.isnan(value) for value in (summary.min_ms, summary.mean_ms, summary.p99_ms, summary.max_ms))


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_an_impossible_duration_is_refused_and_not_counted(wrong: float) -> None:
    profile = LatencyProfile()
    with pytest.raises(ConfigError, match="finite number from 0"):
        profile.add("engine", wrong)
    assert profile.summaries() == {}


def test_profile_keeps_stage_order_and_shares_of_the_total() -> None:
    profile = LatencyProfile()
    for engine, learn in ((6.0, 3.0), (2.0, 1.0)):
        profile.add("engine", engine)
        profile.add("learn", learn)
        profile.add("total", engine + learn + 4.0)
    assert list(profile.summaries()) == ["engine", "learn", "total"]
    assert profile.summaries()["engine"].total_ms == 8.0
    assert profile.share("engine") == 8.0 / 20.0
    assert profile.shares() == {"engine": 0.4, "learn": 0.2, "total": 1.0}


def test_share_without_total_time_is_nan() -> None:
    profile = LatencyProfile()
    profile.add("engine", 2.0)
    assert math.isnan(profile.share("engine"))
    profile.add("total", 0.0)
    assert math.isnan(profile.share("engine"))


def test_share_of_an_unknown_stage_names_the_known_ones() -> None:
    profile = LatencyProfile()
    profile.add("engine", 2.0)
    with pytest.raises(ConfigError, match="known stages: engine"):
        profile.share("engin")
