from __future__ import annotations

import numpy as np
import pytest

from moase_edge.errors import ConfigError
from moase_edge.metrics.domains import domain_index, error_by_domain_index, frames_by_domain

NAMES = ("fog", "snow", "night")


def test_errors_and_frames_are_those_of_each_domain_in_the_order_of_the_names() -> None:
    index = domain_index([2, 0, 2, 2], NAMES)
    assert list(frames_by_domain(index, NAMES).items()) == [("fog", 1), ("night", 3)]
    errors = error_by_domain_index(np.array([True, False, False, True]), index, NAMES)
    assert list(errors.items()) == [("fog", 0.0), ("night", pytest.approx(200 / 3))]


@pytest.mark.parametrize("index", [[3], [-1]])
def test_an_index_without_name_is_refused(index: list[int]) -> None:
    with pytest.raises(ConfigError, match="expected 0 to 2"):
        domain_index(index, NAMES)


@pytest.mark.parametrize("index", [[0.0], [[0]], ["fog"]])
def test_what_is_no_list_of_integers_is_refused(index: list[object]) -> None:
    with pytest.raises(ConfigError, match="one integer a frame"):
        domain_index(np.array(index), NAMES)
