from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moase_edge.metrics.uncertainty import entropy, softmax

logits = arrays(np.float64, (3, 5), elements=st.floats(-1e4, 1e4))


def test_softmax_of_logs_gives_back_the_probabilities() -> None:
    wanted = [[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]]
    np.testing.assert_allclose(softmax(np.log(wanted)), wanted, rtol=1e-15)


def test_softmax_of_huge_logits_does_not_overflow() -> None:
    np.testing.assert_array_equal(softmax([1e308, 0.0, -1e308]), [1.0, 0.0, 0.0])
    np.testing.assert_allclose(softmax([1000.0, 1000.0 - math.log(3)]), [0.75, 0.25])


def test_softmax_gives_a_masked_class_no_probability() -> None:
    np.testing.assert_array_equal(softmax([0.0, -math.inf, 0.0]), [0.5, 0.0, 0.5])


@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_softmax_of_a_broken_row_is_nan_and_leaves_other_rows(row: list[float]) -> None:
    found = softmax([row, [0.0, 0.0]])
    assert np.isnan(found[0]).any()
    np.testing.assert_array_equal(found[1], [0.5, 0.5])


def test_float32_stays_and_integers_become_float64() -> None:
    assert softmax(np.zeros((2, 3), dtype=np.float32)).dtype == np.float32
    assert entropy(np.full((2, 4), 0.25, dtype=np.float32)).dtype == np.float32
    assert softmax(np.array([0, 1])).dtype == np.float64
    assert entropy(np.array([0.5, 0.5], dtype=np.float16)).dtype == np.float64


@given(logits)
def test_softmax_sums_to_one_and_ignores_a_shift(values: np.ndarray) -> None:
    found = softmax(values)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0)
    np.testing.assert_allclose(found, softmax(values + 100.0), atol=1e-10)


def test_entropy_of_known_rows() -> None:
    rows = [[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    np.testing.assert_allclose(entropy(rows), [math.log(4), math.log(2), 0.0], rtol=1e-15)
    assert entropy([0.9, 0.1]) == pytest.approx(0.3250829733914482)


def test_entropy_of_a_certain_row_is_positive_zero() -> None:
    assert math.copysign(1.0, float(entropy([1.0, 0.0]))) == 1.0


@pytest.mark.parametrize("wrong", [math.nan, -0.1])
def test_entropy_of_a_row_that_is_no_distribution_is_nan(wrong: float) -> None:
    found = entropy([[wrong, 0.5], [0.5, 0.5]])
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(math.log(2))


@given(logits)
def test_entropy_lies_between_zero_and_log_classes(values: np.ndarray) -> None:
    found = entropy(softmax(values))
    assert (found >= 0).all()
    assert (found <= math.log(5) + 1e-12).all()
