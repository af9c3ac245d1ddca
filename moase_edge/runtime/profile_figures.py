"""Figures of a profile: by mode and stage, as rows of a CSV file, and as a trace that Perfetto opens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.metrics.gate import STATISTICS
from moase_edge.metrics.steadiness import jitter
from moase_edge.runtime.frame_times import FrameTimes
from moase_edge.runtime.profile import MODES, Profile
from moase_edge.runtime.record import STAGES

BUSY = "busy"
"""What a frame keeps the loop from the next one: `total` without the wait in `capture`."""

Figures = dict[str, dict[str, dict[str, float]]]


def figures(profile: Profile, *, on_device: bool = False) -> Figures:
    """Milliseconds by mode, stage and statistic: count, mean, p50, p90, p95, p99, max, jitter.

    A percentile is exact, of all frames after the warm-up: the smallest duration that as many do not exceed.

    Args:
        on_device: times of a GPU rather than of the host.
    """
    times = profile.times
    found: Figures = {}
    for mode in MODES:
        rows = profile.rows(mode)
        by_stage = {stage: (times.device if on_device else times.host)(rows, stage) for stage in STAGES}
        if not on_device:
            by_stage[BUSY] = times.busy(rows)
        found[mode] = {stage: _statistics(durations) for stage, durations in by_stage.items() if len(durations)}
    return found


def _statistics(durations: NDArray[np.float64]) -> dict[str, float]:
    percents = {name: int(name[1:]) for name in STATISTICS if name.startswith("p")}
    ranked = np.percentile(durations, list(percents.values()), method="inverted_cdf")
    return {
        "count": float(len(durations)),
        "mean": float(durations.mean()),
        **dict(zip(percents, ranked.tolist(), strict=True)),
        "max": float(durations.max()),
        "jitter": jitter(durations),
    }


def csv_rows(profile: Profile) -> Iterator[list[object]]:
    """A header, then a row for every frame in the order in which they ran; empty where a stage did not run."""
    times = profile.times
    columns = np.flatnonzero(~np.isnan(times.host_ms[: times.count]).all(axis=0))
    yield ["mode", "frame", "warm_up", *(f"{STAGES[column]}_ms" for column in columns)]
    for row in range(times.count):
        values = (times.host_ms[row, column] for column in columns)
        cells = ("" if np.isnan(ms) else float(ms) for ms in values)
        yield [MODES[times.mode[row]], int(times.index[row]), int(times.warm_up[row]), *cells]


def trace_events(profile: Profile) -> dict[str, Any]:
    """The Chrome trace format, which Perfetto and chrome://tracing open: a row a mode, a slice each stage.

    Times are microseconds from the first frame on.
    """
    begins = profile.times.begin_ns[: profile.times.count]
    origin = int(begins[begins >= 0].min(initial=np.iinfo(np.int64).max))
    events = [_named("process_name", "moase-edge profile", 0)]
    events += [_named("thread_name", mode, number + 1) for number, mode in enumerate(MODES)]
    for row in range(profile.times.count):
        events += _slices(profile.times, row, origin)
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _named(kind: str, name: str, thread: int) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}}


def _slices(times: FrameTimes, row: int, origin: int) -> list[dict[str, Any]]:
    """The whole frame before its parts: a viewer nests slices in the order in which they begin."""
    begins, ends = times.begin_ns[row].tolist(), times.end_ns[row].tolist()
    timed = [column for column, begin in enumerate(begins) if begin >= 0]
    return [
        {
            "name": "frame" if STAGES[column] == "total" else STAGES[column],
            "cat": "warm-up" if times.warm_up[row] else "frame",
            "ph": "X",
            "pid": 1,
            "tid": int(times.mode[row]) + 1,
            "ts": (begins[column] - origin) / 1e3,
            "dur": (ends[column] - begins[column]) / 1e3,
            "args": {"frame": int(times.index[row])},
        }
        for column in sorted(timed, key=lambda column: (begins[column], -ends[column]))
    ]
