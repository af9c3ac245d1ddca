"""Two benchmarks beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moase_edge.bench.bench_report import BenchReport, rows_of
from moase_edge.bench.benchmark import load_benchmark
from moase_edge.bench.grid import SETTINGS, Cell
from moase_edge.errors import ConfigError
from moase_edge.metrics.bootstrap import Difference
from moase_edge.metrics.cell import CellRecord, pooled_difference
from moase_edge.report.files import read_json
from moase_edge.report.method_tables import comparison_table
from moase_edge.report.plain import plain_json
from moase_edge.report.tables import Table

_PAIRED = "Change: B less A; [95 % interval], resampling pictures, where both saw the same frames."


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two runs say of each other.

    Attributes:
        notes: what differs between them besides the results, one line each.
        tables: one for each protocol that both have.
    """

    notes: list[str]
    tables: list[Table]


def compare_benchmarks(a: Path, b: Path) -> Comparison:
    """Compare the results in two folders, method by method.

    Raises:
        ConfigError: a folder without a finished benchmark, or no protocol in common.
        StorageError: a file is damaged.
    """
    first, second = load_benchmark(a), load_benchmark(b)
    results = {found.protocol: found for found in first.protocols}
    others = {found.protocol: found for found in second.protocols}
    shared = [protocol for protocol in results if protocol in others]
    if not shared:
        raise ConfigError(
            f"{a} ran {', '.join(results)} and {b} ran {', '.join(others)}: there is no protocol in common to "
            "compare. Run one with the protocols of the other."
        )
    tables = [
        comparison_table(
            rows_of(results[protocol]),
            rows_of(others[protocol]),
            changes=_changes(a, b, first, second, protocol),
            title=f"{protocol}: A is {a}, B is {b}",
            note=_PAIRED,
        )
        for protocol in shared
    ]
    return Comparison(_differences((a, first), (b, second)), tables)


def _changes(a: Path, b: Path, first: BenchReport, second: BenchReport, protocol: str) -> dict[str, Difference]:
    """The paired change of each method that saw the same frames in both."""
    changes = {}
    for method in (name for name in first.methods(protocol) if name in second.methods(protocol)):
        seeds = [seed for seed in first.settings.seeds if seed in second.settings.seeds]
        if not seeds or len(seeds) < max(len(first.settings.seeds), len(second.settings.seeds)):
            continue
        before, after = ([_record(out, protocol, seed, method) for seed in seeds] for out in (a, b))
        try:
            changes[method] = pooled_difference(after, before, rng=np.random.default_rng(0)).mean
        except ConfigError:  # other frames: only the means can be compared
            continue
    return changes


def _record(out: Path, protocol: str, seed: int, method: str) -> CellRecord:
    record, _, _ = Cell(protocol, seed, method).files(out).load()
    return record


def _differences(*runs: tuple[Path, BenchReport]) -> list[str]:
    """Settings, version, and weights behind a file of the same name."""
    a, b = (_flat({**read_json(out / SETTINGS), **plain_json(report.subject)}) for out, report in runs)
    return [f"{name}: A {a.get(name)}, B {b.get(name)}" for name in {**a, **b} if a.get(name) != b.get(name)]


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Settings within settings by dotted names, so that only what differs is shown of them."""
    found: dict[str, object] = {}
    for name, value in plain.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
        found.update(inner)
    return found
