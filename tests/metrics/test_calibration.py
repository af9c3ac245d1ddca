from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.errors import ConfigError
from moase_edge.metrics.calibration import calibration

frames = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def test_error_of_two_bins_worked_by_hand() -> None:
    # Up to 0.5: confidence 0.3, accuracy 1/2. Above: confidence 0.8, accuracy 2/3. 100 * (2 * 0.2 + 3 * 2/15) / 5.
    found = calibration([0.2, 0.4, 0.7, 0.8, 0.9], [False, True, True, False, True], bins=2)
    assert found.error == pytest.approx(16.0)
    low, high = found.bins
    assert (low.low, low.high, low.frames) == (0.0, 0.5, 2)
    assert low.confidence == pytest.approx(0.3)
    assert low.accuracy == 0.5
    assert (high.low, high.high, high.frames) == (0.5, 1.0, 3)
    assert high.confidence == pytest.approx(0.8)
    assert high.accuracy == pytest.approx(2 / 3)


def test_there_are_15_bins_of_equal_width_and_empty_ones_have_no_means() -> None:
    bins = calibration([0.99], [True]).bins
    assert [bin.high for bin in bins] == [(i + 1) / 15 for i in range(15)]
    assert [bin.low for bin in bins] == [i / 15 for i in range(15)]
    assert [bin.frames for bin in bins] == [0] * 14 + [1]
    assert math.isnan(bins[0].confidence)
    assert math.isnan(bins[0].accuracy)


@pytest.mark.parametrize(
    ("confidence", "place"), [(0.0, 0), (1 / 15, 0), (math.nextafter(1 / 15, 1), 1), (0.2, 2), (0.6, 8), (1.0, 14)]
)
def test_a_bin_holds_its_upper_edge_and_not_its_lower(confidence: float, place: int) -> None:
    assert [bin.frames for bin in calibration([confidence], [True]).bins].index(1) == place


def test_a_sure_and_wrong_model_is_off_by_100_percent_and_a_calibrated_one_by_nothing() -> None:
    assert calibration([1.0, 1.0], [False, False]).error == 100.0
    assert calibration([0.75] * 4, [True, True, True, False]).error == 0.0


def test_frames_without_confidence_are_left_out_and_counted() -> None:
    found = calibration([math.nan, 0.5, math.nan], [False, True, False])
    assert (found.error, found.left_out) == (50.0, 2)
    assert math.isnan(calibration([math.nan], [False]).error)


def test_rounding_of_float32_above_one_counts_as_one() -> None:
    top = np.nextafter(np.float32(1), np.float32(2))
    assert calibration(np.array([top]), [True]).error == 0.0


@pytest.mark.parametrize("confidence", [[1.5], [-0.1], [math.inf]])
def test_what_is_no_probability_is_refused(confidence: list[float]) -> None:
    with pytest.raises(ConfigError, match="not logits"):
        calibration(confidence, [True])


@pytest.mark.parametrize(
    ("confidence", "correct", "bins"), [([0.5], [True, False], 15), ([[0.5]], [[True]], 15), ([0.5], [True], 0)]
)
def test_shapes_that_differ_and_no_bins_are_refused(
    confidence: list[float], correct: list[bool], bins: int
) -> None:
    with pytest.raises(ConfigError, match="at least one bin"):
        calibration(confidence, correct, bins=bins)


@given(frames, st.integers(1, 20))
def test_error_is_the_weighted_gap_of_the_bins_and_at_least_the_gap_of_all(
    stream: list[tuple[float, bool]], bins: int
) -> None:
    confidence, correct = (np.array(values) for values in zip(*stream, strict=True))
    found = calibration(confidence, correct, bins=bins)
    gaps = [bin.frames * abs(bin.accuracy - bin.confidence) for bin in found.bins if bin.frames]
    assert sum(bin.frames for bin in found.bins) == len(stream)
    assert found.error == pytest.approx(100 * sum(gaps) / len(stream))
    assert found.error >= 100 * abs(correct.mean() - confidence.mean()) - 1e-9
    assert found.error <= 100 + 1e-9
