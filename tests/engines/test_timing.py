"""Engines are measured in turn, and fp32 wins ties."""

from __future__ import annotations

from time import sleep

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.artifact.manifest import Precision
from moase_edge.engines.base import Engine, Tensors
from moase_edge.engines.timing import fastest, interleaved_ms, measure
from moase_edge.errors import EngineError

IMAGE = np.zeros((1, 3, 2, 2), np.float32)


class Sleeper:
    """Takes so many milliseconds a frame, and writes down whose turn it was."""

    def __init__(self, name: str, pause_ms: float, turns: list[str]) -> None:
        self.name, self._pause_ms, self._turns = name, pause_ms, turns
        self.closed = False

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        self._turns.append(self.name)
        sleep(self._pause_ms / 1e3)
        return {}

    def close(self) -> None:
        self.closed = True


def test_every_engine_has_its_turn_in_each_round_and_another_is_first() -> None:
    turns: list[str] = []
    engines: dict[str, Engine] = {name: Sleeper(name, pause, turns) for name, pause in (("a", 0.1), ("b", 8.0))}
    found = interleaved_ms(engines, IMAGE, rounds=3, warm_up=1)
    assert turns == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert found["b"] >= 8.0 > found["a"]


def test_it_ends_when_the_time_is_over_with_one_round_at_least() -> None:
    turns: list[str] = []
    found = interleaved_ms({"a": Sleeper("a", 1.0, turns)}, IMAGE, rounds=1000, warm_up=2, seconds=0)
    assert len(turns) == 3
    assert found["a"] >= 1.0


def test_what_cannot_run_here_is_left_out_and_the_rest_is_closed() -> None:
    def refuse() -> Engine:
        raise EngineError("no such device")

    sleeper = Sleeper("there", 0.0, [])
    found = measure({"there": lambda: sleeper, "missing": refuse}, IMAGE, rounds=2, warm_up=0, seconds=1)
    assert list(found) == ["there"]
    assert found["there"].measured_on.startswith("there on ")
    assert sleeper.closed
    assert measure({"missing": refuse}, IMAGE, rounds=1, warm_up=0, seconds=1) == {}


@pytest.mark.parametrize(
    ("latency_ms", "expected"),
    [
        ({"fp32": 10.0, "fp16": 9.8}, "fp32"),
        ({"fp32": 10.0, "fp16": 9.6, "int8": 9.5}, "int8"),
        ({"fp32": 10.0, "fp16": 12.0}, "fp32"),
        ({"fp16": 5.0, "int8": 6.0}, "fp16"),
    ],
)
def test_fp32_wins_ties(latency_ms: dict[Precision, float], expected: Precision) -> None:
    assert fastest(latency_ms, tie=0.03) == expected
