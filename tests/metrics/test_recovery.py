from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.errors import ConfigError
from moase_edge.metrics.recovery import Recovery, recoveries, running_error, running_error_trace, typical_recovery

NAMES = ("fog", "snow")


def frames_to_recover(wrong: str, *, window: int = 2, tolerance: float = 0.0) -> int | None:
    """Of one domain; an x is a wrong answer."""
    errors = [letter == "x" for letter in wrong]
    (found,) = recoveries(errors, [0] * len(errors), domains=NAMES, window=window, tolerance=tolerance)
    return found.frames


def test_running_error_looks_back_over_the_window_and_over_less_at_the_begin() -> None:
    wrong = [True, False, True, True, False]
    np.testing.assert_allclose(running_error(wrong, 2), [100, 50, 50, 100, 50])
    np.testing.assert_allclose(running_error(wrong, 1), [100, 0, 100, 100, 0])
    np.testing.assert_allclose(running_error(wrong, 9), [100, 50, 200 / 3, 75, 60])
    assert len(running_error([], 3)) == 0


def test_the_trace_for_plots_begins_with_the_first_full_window() -> None:
    trace = running_error_trace([True, False, True, True], 3)
    np.testing.assert_allclose(trace.x, [2, 3])
    np.testing.assert_allclose(trace.mean, [200 / 3, 200 / 3])
    np.testing.assert_allclose(running_error_trace([True, False], 3).mean, [100, 50])
    assert len(running_error_trace([], 3).x) == 0


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 50))
def test_running_error_is_the_mean_of_the_frames_in_the_window(wrong: list[bool], window: int) -> None:
    expected = [100 * np.mean(wrong[max(0, i - window + 1) : i + 1]) for i in range(len(wrong))]
    np.testing.assert_allclose(running_error(wrong, window), expected)


@pytest.mark.parametrize(
    ("wrong", "frames"),
    [
        ("........", 0),  # as good from the first frame
        ("xxxxxxxx", 0),  # as bad from the first frame
        ("x.......", 1),
        ("xxx.....", 3),
        ("xxxx....", 4),  # the window of frames 4 and 5 begins where the second half does
        (".x.x.x.x", 0),  # settled at 50 %, every window has 50 %
        ("xxxxx...", None),  # settled at 25 %: windows of two have 0, 50 or 100 %
        ("....xxxx", 4),  # a collapse has not settled while it still answers well
    ],
)
def test_frames_before_the_first_window_at_the_settled_error(wrong: str, frames: int | None) -> None:
    assert frames_to_recover(wrong) == frames


def test_what_settles_only_in_the_second_half_did_not_settle() -> None:
    # 12 frames, settled at 1 of 6 wrong: 16.7 %; windows 0 .. 6 have 100, ..., 33.3 %, window 7 has none wrong.
    assert frames_to_recover("xxxxxxx.....", window=3, tolerance=10.0) is None
    assert frames_to_recover("xxxxxxx.....", window=3, tolerance=16.7) == 6


def test_a_difference_of_exactly_the_tolerance_recovers() -> None:
    # Settled at 1 of 5 wrong, 20 %; the first window of five has 2 wrong, 40 %.
    assert frames_to_recover("xx.......x", window=5, tolerance=20.0) == 0
    assert frames_to_recover("xx.......x", window=5, tolerance=19.9) == 1


def test_each_visit_is_measured_on_its_own_frames() -> None:
    wrong = [letter == "x" for letter in "x...xx...."]
    found = recoveries(wrong, [0] * 4 + [1] * 6, domains=NAMES, window=2, tolerance=0.0)
    assert found == (Recovery("fog", 0, 4, 0.0, 1), Recovery("snow", 4, 6, 0.0, 2))


def test_a_domain_that_returns_is_measured_at_each_visit() -> None:
    found = recoveries([False] * 12, [0] * 4 + [1] * 4 + [0] * 4, domains=NAMES, window=2)
    assert [(visit.domain, visit.begin) for visit in found] == [("fog", 0), ("snow", 4), ("fog", 8)]


def test_a_visit_shorter_than_two_windows_is_left_out() -> None:
    found = recoveries([True] * 9, [0] * 5 + [1] * 4, domains=NAMES, window=2)
    assert [visit.length for visit in found] == [5, 4]
    found = recoveries([True] * 9, [0] * 6 + [1] * 3, domains=NAMES, window=2)
    assert [visit.domain for visit in found] == ["fog"]
    assert recoveries([True] * 6, [0, 1] * 3, domains=NAMES, window=1) == ()


def test_typical_is_the_median_and_what_never_settled_is_longest() -> None:
    def visits(*frames: int | None) -> list[Recovery]:
        return [Recovery("fog", 0, 100, 50.0, value) for value in frames]

    assert typical_recovery(visits(8, 2, 4)) == 4.0
    assert typical_recovery(visits(8, None, 4)) == 8.0
    assert typical_recovery(visits(2, 4)) == 3.0
    assert typical_recovery(visits(None, None, 4)) is None
    assert typical_recovery([]) is None


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="window of 0"):
        running_error([True], 0)
    with pytest.raises(ConfigError, match="one value a frame"):
        running_error([[True]], 1)
    with pytest.raises(ConfigError, match="one of each a frame"):
        recoveries([True], [0, 0], domains=NAMES)
    with pytest.raises(ConfigError, match=r"tolerance of -1\.0"):
        recoveries([True], [0], domains=NAMES, tolerance=-1.0)
    with pytest.raises(ConfigError, match="expected 0 to 1"):
        recoveries([True], [2], domains=NAMES)
