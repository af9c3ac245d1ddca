"""What `state` shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moase_edge.adapt.state_file import SnapshotHeader, read_header, read_snapshot
from moase_edge.cli.state_command import OpenedState
from moase_edge.errors import ArtifactError
from moase_edge.runtime.snapshot_folder import number_of

_COLUMNS = ("number", "age", "frames", "domains", "size", "fits the artifact")


def print_list(opened: OpenedState, *, as_json: bool) -> None:
    """Every snapshot, the newest first, and those aside."""
    folder = opened.folder
    entries = [*(_entry(opened, path, False) for path in folder.snapshots())]
    entries += [_entry(opened, path, True) for path in folder.aside()]
    if as_json:
        print(json.dumps(entries, indent=1))
        return
    table = Table(title=escape(str(folder.path)), title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column.startswith("fits") else "right")
    for entry in entries:
        table.add_row(*_cells(entry))
    Console().print(table if entries else f"{folder.path} holds no snapshot", highlight=False)


def _entry(opened: OpenedState, path: Path, aside: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"number": number_of(path), "file": path.name, "aside": aside}
    try:
        header = read_header(path)
        entry |= {
            "created_at": header.created_at.isoformat(timespec="seconds"),
            "frames": header.frames,
            "domains": header.counts.get("domains_found", 0),
            "bytes": path.stat().st_size,
            "differs_in": opened.unfit(header.binding),
        }
    except (ArtifactError, OSError) as exc:
        entry["damaged"] = str(exc)
    return entry


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    number = f"{entry['number']}{' (aside)' if entry['aside'] else ''}"
    if "damaged" in entry:
        return (number, "", "", "", "", "damaged")
    unfit = entry["differs_in"]
    fits = "no artifact found" if unfit is None else f"no: {'; '.join(unfit)}" if unfit else "yes"
    size = f"{entry['bytes'] / 1024:.0f} KiB"
    age = age_of(datetime.fromisoformat(entry["created_at"]))
    return (number, age, str(entry["frames"]), str(entry["domains"]), size, escape(fits))


def age_of(created_at: datetime, now: datetime | None = None) -> str:
    """In the largest unit that fits: 40 s, 12 min, 5 h, 3 d."""
    age_s = ((now or datetime.now(timezone.utc)) - created_at).total_seconds()
    for unit, size_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if age_s >= size_s:
            return f"{age_s // size_s:.0f} {unit}"
    return f"{max(age_s, 0):.0f} s"


def print_snapshot(opened: OpenedState, name: str | None, *, as_json: bool) -> None:
    """One snapshot, checked against its hash."""
    path = opened.named(name)
    header = read_snapshot(path).header
    if as_json:
        print(header.model_dump_json(indent=1))
        return
    table = Table(title=escape(str(path)), show_header=False, title_justify="left")
    for label, value in _facts(opened, header):
        table.add_row(label, escape(value))
    Console().print(table)


def _facts(opened: OpenedState, header: SnapshotHeader) -> Iterator[tuple[str, str]]:
    unfit, figures = opened.unfit(header.binding), dict(header.figures)
    yield "written", f"{header.created_at:%Y-%m-%d %H:%M:%S %Z}, {age_of(header.created_at)} ago"
    yield "artifact", header.artifact
    yield "fits it", "no artifact found" if unfit is None else "; ".join(unfit) or "yes"
    yield "frames", str(header.frames)
    if header.position is not None:
        at = header.position
        yield "source", f"{at.name}, {'read to its end' if at.ended else f'next is frame {at.frames}'}"
    for domain in figures.pop("domains", ()):
        steered = ", steered" if domain["steered"] else ""
        moved = f"features moved by {domain['feature_shift']:.3g}"
        yield f"domain {domain['number']:.0f}", f"{domain['frames']:.0f} contents, {moved}{steered}"
    for label, value in {**header.counts, **figures}.items():
        yield label.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value)
