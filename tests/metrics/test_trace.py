from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.errors import ConfigError
from moase_edge.metrics.trace import Trace, TracePoints

values_lists = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300)


def filled(values: list[float], capacity: int = 8) -> Trace:
    trace = Trace(capacity)
    for x, value in enumerate(values):
        trace.add(x, value)
    return trace


def test_below_capacity_every_value_is_a_point() -> None:
    points = filled([3.0, 1.0, 2.0]).points()
    np.testing.assert_array_equal(points.x, [0, 1, 2])
    for values in (points.mean, points.low, points.high):
        np.testing.assert_array_equal(values, [3.0, 1.0, 2.0])


def test_a_full_trace_merges_neighbours_by_hand_values() -> None:
    trace = filled([1.0, 3.0, 5.0, 9.0, 2.0], capacity=4)
    points = trace.points()
    assert trace.stride == 2
    np.testing.assert_array_equal(points.x, [0.5, 2.5, 4.0])
    np.testing.assert_array_equal(points.mean, [2.0, 7.0, 2.0])
    np.testing.assert_array_equal(points.low, [1.0, 5.0, 2.0])
    np.testing.assert_array_equal(points.high, [3.0, 9.0, 2.0])
    np.testing.assert_array_equal(points.count, [2, 2, 1])


@given(values_lists)
def test_weighted_mean_of_the_points_is_the_true_mean(values: list[float]) -> None:
    points = filled(values).points()
    found = float((points.mean * points.count).sum() / points.count.sum())
    assert found == pytest.approx(math.fsum(values) / len(values), rel=1e-9, abs=1e-3)
    assert int(points.count.sum()) == len(values)


@given(values_lists)
def test_extremes_are_never_lost(values: list[float]) -> None:
    points = filled(values).points()
    assert points.high.max() == max(values)
    assert points.low.min() == min(values)
    assert (points.low <= points.mean).all()
    assert (points.mean <= points.high).all()


@given(st.integers(1, 5000))
def test_points_never_exceed_the_capacity_and_keep_half_of_it(count: int) -> None:
    trace = filled([0.0] * count, capacity=16)
    assert min(count, 8) <= len(trace) <= 16
    x = trace.points().x
    assert (np.diff(x) > 0).all()


def test_stride_doubles_until_the_series_fits() -> None:
    assert [filled([0.0] * count, capacity=4).stride for count in (4, 5, 8, 9, 16, 17)] == [1, 2, 2, 4, 4, 8]


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf])
def test_missing_values_are_left_out_and_counted(missing: float | None) -> None:
    trace = Trace(4)
    trace.add(0, 1.0)
    trace.add(1, missing)
    trace.add(2, 3.0)
    assert trace.skipped == 1
    np.testing.assert_array_equal(trace.points().x, [0.0, 2.0])


def test_a_value_at_no_position_is_left_out_too() -> None:
    trace = Trace(4)
    trace.add(math.nan, 1.0)
    assert (len(trace), trace.skipped) == (0, 1)


def test_an_empty_trace_gives_empty_arrays() -> None:
    points = Trace().points()
    assert [len(values) for values in (points.x, points.mean, points.low, points.high, points.count)] == [0] * 5


def test_points_do_not_follow_the_trace() -> None:
    trace = filled([1.0])
    before = trace.points()
    trace.add(1, 9.0)
    assert len(before.x) == 1


@pytest.mark.parametrize("capacity", [0, 1, 7])
def test_a_capacity_that_cannot_be_halved_is_refused(capacity: int) -> None:
    with pytest.raises(ConfigError, match="even number"):
        Trace(capacity)


def test_points_of_plain_values_stand_for_one_value_each() -> None:
    points = TracePoints.of([0, 2], [5, 7])
    np.testing.assert_array_equal(points.low, [5.0, 7.0])
    np.testing.assert_array_equal(points.count, [1, 1])
    with pytest.raises(ConfigError, match="equal lengths"):
        TracePoints.of([0, 2], [5])
