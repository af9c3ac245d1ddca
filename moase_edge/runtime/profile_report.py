"""The files of a profile: summary.json, frames.csv and trace.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moase_edge.artifact.files import storage_errors
from moase_edge.report.files import write_json, write_text_atomic
from moase_edge.report.tables import Table
from moase_edge.runtime.profile import MODES, Mode, Profile
from moase_edge.runtime.profile_figures import Figures, csv_rows, figures, trace_events

SUMMARY, FRAMES, TRACE = "profile.json", "frames.csv", "trace.json"
_SHOWN = ("p50", "p90", "p95", "p99", "max", "jitter")


def summary_of(profile: Profile, facts: Mapping[str, Any], dropped: int, hints: Sequence[str]) -> dict[str, Any]:
    """Plain data of all that was found.

    Args:
        facts: artifact, engine, source, settings, machine.
        dropped: frames of a live source that were overwritten before anyone took them.
    """
    return {
        **facts,
        "ended": profile.ended,
        "steady": profile.steady,
        "warm_up_frames": int(profile.times.warm_up[: profile.times.count].sum()),
        "windows": profile.medians_ms,
        "latency_ms": figures(profile),
        "device_latency_ms": figures(profile, on_device=True),
        "adapting_over_frozen": ratio(profile),
        "dropped": dropped,
        "memory_mib": profile.memory[-1][1] if profile.memory else None,
        "memory_mib_per_10000_frames": profile.memory_slope_mib,
        "hints": list(hints),
    }


def ratio(profile: Profile) -> float | None:
    """Median of what a frame keeps the loop busy, adapting over frozen; None where either has no frame."""
    busy = [stages["busy"]["p50"] for stages in figures(profile).values() if "busy" in stages]
    return busy[1] / busy[0] if len(busy) == len(MODES) and busy[0] > 0 else None


def latency_table(mode: Mode, host: Figures, device: Figures) -> Table:
    """One mode's latency by stage in milliseconds; columns of the GPU only where one told of its time."""
    on_device = device[mode]
    heads = ["stage", "frames", *_SHOWN, *(("GPU p50", "GPU p99") if on_device else ())]
    rows = []
    for stage, of in host[mode].items():
        row: list[str | float | int] = [stage, int(of["count"]), *(of[name] for name in _SHOWN)]
        if on_device:
            there = on_device.get(stage, {})
            row += [there.get(name, float("nan")) for name in ("p50", "p99")]
        rows.append(row)
    note = "busy is total without the wait in capture. No outlier is taken out."
    return Table(f"{mode}: latency (ms)", heads, rows, note)


def write_profile(folder: Path, profile: Profile, summary: Mapping[str, Any]) -> list[Path]:
    """Write the three files; what was written.

    Raises:
        StorageError: the folder cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    rows = io.StringIO()
    csv.writer(rows).writerows(csv_rows(profile))
    write_text_atomic(folder / FRAMES, rows.getvalue())
    write_text_atomic(folder / TRACE, json.dumps(trace_events(profile)) + "\n")
    write_json(folder / SUMMARY, summary)
    return [folder / name for name in (SUMMARY, FRAMES, TRACE)]
