from __future__ import annotations

import math

import pytest

from moase_edge.errors import ConfigError
from moase_edge.metrics.spread import spread


def test_deviation_divides_by_n_minus_1() -> None:
    found = spread([1.0, 2.0, 6.0])
    assert (found.mean, found.count) == (3.0, 3)
    assert found.deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_a_single_seed_has_a_mean_and_no_deviation() -> None:
    found = spread([61.3])
    assert (found.mean, found.count) == (61.3, 1)
    assert math.isnan(found.deviation)


def test_equal_seeds_deviate_by_exactly_nothing() -> None:
    assert spread([0.1] * 7).deviation == 0.0


@pytest.mark.parametrize("missing", [math.nan, math.inf])
def test_a_seed_without_figure_leaves_no_mean(missing: float) -> None:
    found = spread([1.0, missing])
    assert math.isnan(found.mean)
    assert math.isnan(found.deviation)
    assert found.count == 2


def test_no_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one seed"):
        spread([])
