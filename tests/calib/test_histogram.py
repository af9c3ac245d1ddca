"""Ranges by each method, on values that can be followed by hand."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moase_edge.calib.histogram import (
    LEVELS,
    RANGES,
    Histogram,
    new_histogram,
    range_of,
    signal_to_noise_db,
    squared_error,
)
from moase_edge.config.names import CalibrationMethod, RangeMethod


def histogram_of(*parts: object, bins: int = 256) -> Histogram:
    histogram = new_histogram(bins)
    for part in parts:
        histogram.add(np.asarray(part, np.float32))
    return histogram


def test_the_methods_that_settings_name_are_those_that_there_are() -> None:
    assert set(get_args(RangeMethod)) == set(RANGES)
    assert set(get_args(CalibrationMethod)) == {"auto", *RANGES}


def test_bins_are_powers_of_two_and_merge_in_pairs_when_a_larger_value_comes() -> None:
    histogram = histogram_of([[0.5, 1.5, 2.5, 3.5]], bins=4)
    assert histogram.width == 1
    assert histogram.counts.tolist() == [1, 1, 1, 1]
    histogram.add(np.array([[-7.5]], np.float32))
    assert histogram.width == 2
    assert histogram.counts.tolist() == [2, 2, 0, 1]
    assert (histogram.lowest, histogram.highest, histogram.largest) == (-7.5, 3.5, 7.5)


def test_channels_keep_their_lowest_highest_and_sum() -> None:
    histogram = histogram_of([[1, -2], [3, 4]], [[5, 0]])
    assert histogram.channels is not None
    assert histogram.channels.tolist() == [[1, -2], [5, 4], [9, 2]]
    assert histogram.rows == 3


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=30), st.data())
@settings(max_examples=30, deadline=None)
def test_the_order_of_values_changes_nothing(values: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(values))
    one, other = (histogram_of(*([[value]] for value in order)) for order in (values, shuffled))
    assert one.counts.sum() == len(values)
    if one.largest > 0:
        assert one.exponent == other.exponent
        assert one.counts.tolist() == other.counts.tolist()


def test_minmax_is_the_largest_magnitude() -> None:
    assert range_of(histogram_of([[0.25, -3.0, 1.0]]), "minmax") == 3.0


def test_percentile_is_the_upper_end_of_the_bin_that_reaches_the_share() -> None:
    # 99 values in [0, 1), one of 255: bins are 1 wide, the first holds 99 of 100.
    histogram = histogram_of([[0.5] * 99 + [255.0]])
    assert histogram.width == 1
    assert range_of(histogram, "percentile", percentile=99) == 1.0
    assert range_of(histogram, "percentile", percentile=99.5) == 255.0


def test_mse_clips_one_outlier_where_rounding_the_others_costs_more() -> None:
    # Of n values over 0..1 and one of 2, int8 up to r costs r**2 / (12 * 127**2) + (2 - r)**2 / n, least at
    # r = 2 / (1 + n / 193548): 1.9 for 10 000. For 10 000 000 it would lie below 1, where n values are clipped.
    spread = np.linspace(0, 1, 10_000)
    few = histogram_of([[*spread, 2.0]], bins=4096)
    assert range_of(few, "mse") == pytest.approx(1.9, abs=0.03)
    many = histogram_of([[*spread, 2.0]], bins=4096)
    many.counts[many.counts > 1] *= 1000
    assert range_of(many, "mse") == pytest.approx(1, abs=0.05)


def test_squared_error_is_that_of_rounding_and_clipping_bin_centres() -> None:
    histogram = histogram_of([[0.5, 3.5]], bins=4)
    # Up to 2, a step is 2/127: 0.5 is 31.75 steps, rounded to 32; 3.5 is clipped to 2.
    step = 2 / LEVELS
    expected = ((0.5 - 32 * step) ** 2 + 1.5**2) / 2
    assert squared_error(histogram, 2.0) == pytest.approx(expected)
    power = (0.5**2 + 3.5**2) / 2
    assert signal_to_noise_db(histogram, 2.0) == pytest.approx(10 * np.log10(power / expected))


def test_entropy_cuts_a_far_outlier_off_and_keeps_an_even_spread() -> None:
    rng = np.random.default_rng(0)
    body = rng.normal(0, 1, (400, 50))
    tailed = histogram_of(body, [[60.0]], bins=4096)
    assert 2 < range_of(tailed, "entropy") < 10
    even = histogram_of([np.linspace(-1, 1, 20_000)], bins=4096)
    assert range_of(even, "entropy") > 0.9


def test_no_method_reaches_beyond_the_largest_value_and_zeros_have_no_range() -> None:
    rng = np.random.default_rng(1)
    histogram = histogram_of(rng.normal(size=(100, 8)), bins=4096)
    for method in get_args(RangeMethod):
        assert 0 < range_of(histogram, method) <= histogram.largest
        assert range_of(histogram_of([[0.0, 0.0]]), method) == 0
