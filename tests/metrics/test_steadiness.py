from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.metrics.steadiness import is_steady, jitter, slope


@pytest.mark.parametrize(
    ("medians", "steady"),
    [
        ([10.0, 10.4, 10.5], True),
        ([10.0, 10.4, 10.6], False),
        ([30.0, 10.0, 10.1, 10.2], True),
        ([10.0, 10.0, 10.0, 12.0], False),
        ([10.0, 10.0], False),
        ([], False),
    ],
)
def test_the_last_three_windows_decide(medians: list[float], steady: bool) -> None:
    assert is_steady(medians, within=0.05) is steady


def test_jitter_is_the_mean_step_between_neighbours() -> None:
    assert jitter([10.0, 12.0, 11.0, 11.0]) == 1.0
    assert math.isnan(jitter([5.0]))


def test_the_slope_of_points_on_a_line_is_the_line_s() -> None:
    assert slope([0, 100, 200], [50.0, 51.0, 52.0]) == pytest.approx(0.01)
    assert slope([0, 1, 2], [0.0, 3.0, 0.0]) == pytest.approx(0.0)
    assert math.isnan(slope([4, 4], [1.0, 2.0]))
    assert math.isnan(slope([], []))


@given(st.lists(st.floats(0, 1e3), min_size=2, max_size=20), st.floats(-5, 5), st.floats(-9, 9))
def test_shifting_and_tilting_moves_the_slope_by_the_tilt(y: list[float], tilt: float, level: float) -> None:
    x = list(range(len(y)))
    moved = [value + tilt * at + level for at, value in zip(x, y, strict=True)]
    assert slope(x, moved) == pytest.approx(slope(x, y) + tilt, abs=1e-6)
