from __future__ import annotations

import numpy as np
import pytest

from moase_edge.calib.running_moments import RunningMoments


def test_mean_and_population_spread_are_those_computed_by_hand() -> None:
    running = RunningMoments()
    running.add(np.array([[1, -2], [3, -2]], np.float32))
    running.add(np.array([[5, 4]], np.float32))
    moments = running.moments()
    np.testing.assert_allclose(moments.mean, [3, 0], atol=1e-15)
    np.testing.assert_allclose(moments.std, [(8 / 3) ** 0.5, 8**0.5], rtol=1e-15)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_streaming_equals_all_at_once(offset: float) -> None:
    rows = (np.random.default_rng(0).standard_normal((100, 5)) + offset).astype(np.float32)
    running = RunningMoments()
    for begin, end in ((0, 1), (1, 2), (2, 40), (40, 99), (99, 100)):
        running.add(rows[begin:end])
    moments = running.moments()
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moments.std, exact.std(axis=0), rtol=1e-12)


def test_moments_that_were_asked_for_do_not_change_afterwards() -> None:
    running = RunningMoments()
    running.add(np.ones((1, 2), np.float32))
    before = running.moments()
    running.add(np.zeros((1, 2), np.float32))
    assert before.mean.tolist() == [1, 1]
