"""What a machine would give for free: thread counts, clocks, enqueueing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from moase_edge.engines.base import Engine

_ROUNDS = 7
_WORTH = 1.1
_ENQUEUE_BOUND = 1.5
_GOVERNORS = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


def thread_hint(
    open_engine: Callable[[int | None], Engine],
    image: NDArray[np.float32],
    threads: int | None,
    *,
    clock_ns: Callable[[], int] = perf_counter_ns,
) -> str | None:
    """Whether another number of engine threads is 10 % faster than the one that was used; a sentence, or None.

    Candidates are one, half of the cores and all of them. Each runs seven times, after one run that
    does not count; one engine at a time is open.

    Args:
        open_engine: opens the engine with so many threads.
        image: (1, 3, H, W) float32.
        threads: that was used; None for the engine's own choice.
    """
    cores = len(os.sched_getaffinity(0))
    candidates = list(dict.fromkeys([threads, 1, max(cores // 2, 1), cores]))
    medians: dict[int | None, float] = {}
    for count in candidates:
        with closing(open_engine(count)) as engine:
            medians[count] = _median_ms(engine, image, clock_ns)
    best = min(medians, key=lambda count: medians[count])
    if medians[threads] <= _WORTH * medians[best] or best is None:
        return None
    gain = medians[threads] / medians[best]
    return f"--threads {best} makes the engine {gain:.2f} times as fast on this machine as it was here."


def _median_ms(engine: Engine, image: NDArray[np.float32], clock_ns: Callable[[], int]) -> float:
    engine.run(image)
    times = []
    for _ in range(_ROUNDS):
        begin = clock_ns()
        engine.run(image)
        times.append((clock_ns() - begin) / 1e6)
    return median(times)


def clock_hint(governors: Sequence[Path] | None = None) -> str | None:
    """Whether the processor's clock is held down to save power; a sentence, or None.

    Args:
        governors: files that name each core's governor; the kernel's by default.
    """
    paths = governor_files() if governors is None else governors
    slow = sum(governor_of(path) == "powersave" for path in paths)
    if not slow:
        return None
    return (
        f"{slow} of {len(paths)} cores are on the governor powersave: `cpupower frequency-set -g performance` "
        "holds their clock up, and so does `jetson_clocks` on a Jetson."
    )


def governor_files() -> list[Path]:
    """Those of the kernel, one a core; none where it does not govern clocks."""
    return sorted(Path("/").glob(_GOVERNORS.lstrip("/")))


def enqueue_hint(host_ms: Mapping[str, float], device_ms: Mapping[str, float]) -> str | None:
    """Whether the host takes longer to enqueue the engine's work than the GPU to do it; a sentence, or None.

    Args:
        host_ms, device_ms: medians by stage; without a GPU the latter is empty.
    """
    host, device = host_ms.get("engine"), device_ms.get("engine")
    if host is None or not device or host < _ENQUEUE_BOUND * device:
        return None
    return (
        f"the engine takes {host:.2f} ms on the host and {device:.2f} ms on the GPU: it is bound by enqueueing. "
        "CUDA graphs or a larger batch spare that."
    )


def governor_of(path: Path) -> str:
    """What governs a core's clock; empty where that cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
