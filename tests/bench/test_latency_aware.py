"""The simulated clock, by hand."""

from __future__ import annotations

import pytest

from moase_edge.bench.latency_aware import FRAME_COSTS, LatencyAware
from moase_edge.bench.methods import METHODS


@pytest.mark.parametrize(
    ("cost", "learned"),
    [
        (1.0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (1.5, [0, 2, 4, 6]),
        (2.0, [0, 2, 4, 6]),
        (3.0, [0, 3, 6]),
        (36.0, [0]),
    ],
)
def test_frames_that_arrive_while_the_learner_is_busy_are_missed(cost: float, learned: list[int]) -> None:
    clock = LatencyAware(cost)
    assert [frame for frame in range(8) if clock.due(frame)] == learned


def test_every_method_has_a_cost_of_at_least_one_frame_time() -> None:
    assert FRAME_COSTS.keys() == METHODS.keys()
    assert min(FRAME_COSTS.values()) == FRAME_COSTS["source"] == 1.0
