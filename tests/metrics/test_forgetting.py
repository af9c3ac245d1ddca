from __future__ import annotations

import pytest

from moase_edge.errors import ConfigError
from moase_edge.metrics.forgetting import forgetting


def test_forgetting_is_the_rise_in_error_on_the_same_clean_frames() -> None:
    labels, source = [0, 1, 2, 3], [0, 1, 2, 0]
    assert forgetting([0, 0, 0, 0], source, labels) == 50.0
    assert forgetting(source, source, labels) == 0.0
    assert forgetting(labels, source, labels) == -25.0


def test_frames_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="one class index a frame"):
        forgetting([0, 1], [0], [0, 1])
