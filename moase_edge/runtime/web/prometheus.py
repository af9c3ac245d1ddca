"""The figures of a run in Prometheus' text format, version 0.0.4."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from moase_edge.runtime.web.history import BOUNDS_MS, Durations, History
from moase_edge.runtime.web.live import Live
from moase_edge.runtime.web.status import quiet_s, source_state
from moase_edge.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Kind = Literal["counter", "gauge", "histogram"]
_Sample = tuple[Mapping[str, str], float]


def exposition(live: Live, history: History) -> str:
    """All families, one line a sample."""
    return "\n".join([*_run(live), *_frames(live, history), *_latency(history), *_source(live), *_process(), ""])


def _family(name: str, kind: _Kind, help_text: str, samples: Iterable[_Sample]) -> list[str]:
    lines = [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *lines] if lines else []


def _single(name: str, kind: _Kind, help_text: str, value: float | None) -> list[str]:
    return _family(name, kind, help_text, [] if value is None else [({}, value)])


def _run(live: Live) -> list[str]:
    run, snapshots = live.pipeline, live.pipeline.controls.snapshots
    facts = {name: str(run.facts.get(name, "")) for name in ("artifact", "engine")}
    info = {"version": __version__, **facts, "adapt": run.schedule.mode, "source": live.source.name}
    lines = [
        *_family("moase_edge_info", "gauge", "What runs.", [(info, 1)]),
        *_single("moase_edge_held", "gauge", "1 while learning is on hold.", float(run.controls.held)),
        *_single("moase_edge_last_answer_age_seconds", "gauge", "Since the latest answer.", quiet_s(live)),
    ]
    if snapshots is None:
        return lines
    name = "moase_edge_snapshots"
    return [
        *lines,
        *_single(f"{name}_written_total", "counter", "Snapshots of what is learned.", snapshots.written),
        *_single(f"{name}_failed_total", "counter", "Snapshots that could not be written.", snapshots.failed),
    ]


def _frames(live: Live, history: History) -> list[str]:
    counts, newest = live.counts, live.newest
    frames = counts.frames
    origins = [({"origin": name}, frames.get(f"answered_{name}", 0)) for name in ("adapted", "frozen")]
    totals = {
        "frames": ("frames", "Frames that were answered."),
        "updates": ("updates", "Updates that were made."),
        "updates_deferred": ("updates_deferred", "Updates put off for want of time."),
        "answers_unlike_frozen": ("differs_from_frozen", "Answers unlike those of the frozen model."),
        "unanswered": ("unanswered", "Frames without an answer, because no logit was finite."),
    }
    lines = [
        line
        for name, (key, text) in totals.items()
        for line in _single(f"moase_edge_{name}_total", "counter", text, frames.get(key, 0))
    ]
    events = [({"event": name}, count) for name, count in counts.events.items()]
    failures = [({"reason": name}, count) for name, count in counts.failures.items()]
    drift = history.drift
    return [
        *lines,
        *_family("moase_edge_answers_total", "counter", "Answers by which model gave them.", origins),
        *_family("moase_edge_adaptation_events", "gauge", "What tracker and guard did.", events),
        *_family("moase_edge_failures_total", "counter", "Failures of learner and sidecar.", failures),
        *_single("moase_edge_confidence", "gauge", "Of the latest answer.", newest and newest[0].confidence),
        *_single("moase_edge_entropy_nats", "gauge", "Of the latest answer.", newest and newest[0].entropy),
        *_single(
            "moase_edge_domain", "gauge", "Number of the domain in view; 0: the source.", drift.get("domain")
        ),
        *_single("moase_edge_feature_shift", "gauge", "Norm by which features move.", drift.get("feature_shift")),
        *_single(
            "moase_edge_answers_frozen",
            "gauge",
            "1 while the frozen model answers.",
            float(history.frozen_since_s is not None),
        ),
    ]


def _latency(history: History) -> list[str]:
    name = "moase_edge_stage_duration_seconds"
    seen = [(stage, found) for stage, found in history.durations.items() if found.cumulative()[-1]]
    lines = [line for stage, found in seen for line in _buckets(name, stage, found)]
    return [f"# HELP {name} Of a batch, by stage; age: from frame to answer.", f"# TYPE {name} histogram", *lines]


def _buckets(name: str, stage: str, found: Durations) -> list[str]:
    counts = found.cumulative()
    bounds = [*(_number(bound / 1e3) for bound in BOUNDS_MS), "+Inf"]
    label = f'stage="{stage}"'
    return [
        *(f'{name}_bucket{{{label},le="{bound}"}} {count}' for bound, count in zip(bounds, counts, strict=True)),
        f"{name}_sum{{{label}}} {_number(found.sum_ms / 1e3)}",
        f"{name}_count{{{label}}} {counts[-1]}",
    ]


def _source(live: Live) -> list[str]:
    state = source_state(live)
    counts = [({"what": name}, value) for name, value in state.counts.items()]
    return [
        *_family("moase_edge_source_frames_total", "counter", "What happened to the source's frames.", counts),
        *_single("moase_edge_source_up", "gauge", "0 while the source is lost.", float(state.trouble is None)),
    ]


def _process() -> list[str]:
    """Memory and handles, by the names that Prometheus' own clients use."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a thousand Path objects would be waste
    except OSError:
        return []
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    return [
        *_single("process_resident_memory_bytes", "gauge", "Resident memory.", resident),
        *_single("process_open_fds", "gauge", "Open file descriptors.", handles),
    ]


def _labels(labels: Mapping[str, str]) -> str:
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{shown}}}" if shown else ""


def _escaped(value: str) -> str:
    plain = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return plain.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(float(value))
