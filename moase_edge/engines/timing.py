"""Which of several engines is the fastest here: one frame at a time, in turn, so that all meet the same machine."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter_ns
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.manifest import Precision
from moase_edge.engines.base import Engine

Name = TypeVar("Name", bound=str)


def interleaved_ms(
    engines: Mapping[Name, Engine],
    image: NDArray[np.float32],
    *,
    rounds: int,
    warm_up: int = 3,
    seconds: float = float("inf"),
) -> dict[Name, float]:
    """Median latency of one frame in milliseconds, by engine.

    Each round runs every engine once, and another one first each time.

    Args:
        image: (1, 3, H, W) float32.
        rounds: that count, at least one.
        warm_up: rounds before them.
        seconds: no further round begins after so long.
    """
    names = list(engines)
    spent_ms: dict[Name, list[float]] = {name: [] for name in names}
    end_ns = perf_counter_ns() + seconds * 1e9
    for index in range(warm_up + rounds):
        if index and min(map(len, spent_ms.values())) and perf_counter_ns() > end_ns:
            break
        first = index % len(names)
        for name in names[first:] + names[:first]:
            begin_ns = perf_counter_ns()
            engines[name].run(image)
            elapsed_ms = (perf_counter_ns() - begin_ns) / 1e6
            if index >= warm_up:
                spent_ms[name].append(elapsed_ms)
    return {name: float(np.median(values)) for name, values in spent_ms.items()}


def fastest(latency_ms: Mapping[Precision, float], *, tie: float) -> Precision:
    """The precision to run in: the fastest, but fp32 where nothing is faster than it by more than the share `tie`.

    Args:
        latency_ms: by precision, fp32 among them.
    """
    best = min(latency_ms, key=lambda precision: latency_ms[precision])
    return best if latency_ms[best] < (1 - tie) * latency_ms["fp32"] else "fp32"
