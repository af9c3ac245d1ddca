from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moase_edge.runtime.hints import clock_hint, enqueue_hint, thread_hint

IMAGE = np.zeros((1, 3, 4, 4), dtype=np.float32)


class ClockedEngine:
    """Takes as long as its number of threads says, on a clock of its own."""

    name = "clocked"

    def __init__(self, clock: list[int], took_ns: int) -> None:
        self._clock, self._took_ns = clock, took_ns
        self.closed = False

    def run(self, images: Any, shift: Any = None) -> dict[str, Any]:
        self._clock[0] += self._took_ns
        return {}

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("took_ms", "used", "words"),
    [
        ({None: 30, 1: 40, 2: 20}, None, "--threads 2 makes the engine 1.50 times as fast"),
        ({None: 21, 1: 40, 2: 20}, None, None),
        ({None: 30, 1: 40, 2: 20}, 2, None),
        ({None: 10, 1: 40, 2: 20}, 1, "--threads 2 makes the engine 2.00 times as fast"),
    ],
)
def test_another_number_of_threads_is_named_where_it_is_a_tenth_faster(
    took_ms: dict[int | None, int], used: int | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    clock, opened = [0], []

    def open_engine(count: int | None) -> Any:
        assert all(engine.closed for engine in opened), "two engines are open at once"
        opened.append(ClockedEngine(clock, took_ms[count] * 1_000_000))
        return opened[-1]

    hint = thread_hint(open_engine, IMAGE, used, clock_ns=lambda: clock[0])
    assert hint is None if words is None else words in str(hint)
    assert all(engine.closed for engine in opened)


def governors(folder: Path, *names: str) -> Iterator[Path]:
    for number, name in enumerate(names):
        (folder / str(number)).write_text(name + "\n")
        yield folder / str(number)


def test_cores_whose_clock_is_held_down_are_counted(tmp_path: Path) -> None:
    hint = clock_hint(list(governors(tmp_path, "powersave", "performance", "powersave")))
    assert hint is not None
    assert hint.startswith("2 of 3 cores")
    assert clock_hint(list(governors(tmp_path, "performance"))) is None
    assert clock_hint([tmp_path / "gone"]) is None


def test_an_engine_that_waits_for_the_host_is_told_of() -> None:
    assert "enqueueing" in str(enqueue_hint({"engine": 3.0}, {"engine": 2.0}))
    assert enqueue_hint({"engine": 2.9}, {"engine": 2.0}) is None
    assert enqueue_hint({"engine": 3.0}, {}) is None
