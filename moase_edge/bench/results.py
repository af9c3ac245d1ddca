"""What a benchmark found: the figures of every method under every protocol, over all seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.bench.cells import Measured
from moase_edge.bench.grid import SOURCE, Cell, load_cells
from moase_edge.config.bench import BenchSettings
from moase_edge.metrics.bootstrap import PairedDifference
from moase_edge.metrics.cell import CellFigures, CellRecord, figures, pooled_difference
from moase_edge.metrics.forgetting import forgetting
from moase_edge.metrics.recovery import running_error_trace, typical_recovery
from moase_edge.metrics.spread import Spread, spread
from moase_edge.metrics.trace import TracePoints

# A running error over fewer frames is noise; over more, a shift cannot be seen in it.
_NARROWEST, _WIDEST = 10, 100
_VISITS_A_WINDOW = 4
# Of the intervals; the same draws of pictures serve every method.
_INTERVAL_SEED = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One cell with the source's on the same frames."""

    cell: Cell
    record: CellRecord
    clean: CellRecord
    measured: Measured
    source: CellRecord
    source_clean: CellRecord
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method under one protocol. Errors in percent; a spread is over seeds.

    Attributes:
        name: of the method.
        error: mean over domains.
        error_by_domain: mean over seeds.
        difference: to the source, over the frames of all seeds; None for the source itself.
        forgetting: error on clean pictures afterwards, minus the source's, in percent points.
        calibration_error: ECE.
        recovery_frames: median over the shifts of all seeds (see `typical_recovery`).
        share_frozen: of the answers, 0 .. 1.
        updates, rollbacks, failures, unanswered: over all seeds.
        by_seed: all figures of each seed.
        counts: what the method found and did, by seed; empty where it counts nothing.
        measured: what depends on the machine, by seed.
        trace: running error of the first seed, for a plot.
    """

    name: str
    error: Spread
    error_by_domain: dict[str, float]
    difference: PairedDifference | None
    forgetting: Spread
    calibration_error: Spread
    recovery_frames: float | None
    share_frozen: float
    updates: int
    rollbacks: int
    failures: int
    unanswered: int
    by_seed: dict[int, CellFigures]
    counts: dict[int, dict[str, int]]
    measured: dict[int, Measured]
    trace: TracePoints

    def plain(self) -> dict[str, Any]:
        """All that repeats, for JSON: neither what was measured nor the trace."""
        named = {name: getattr(self, name) for name in self.__dataclass_fields__}
        del named["measured"], named["trace"]
        by_seed = {str(seed): found.plain() for seed, found in self.by_seed.items()}
        return {**named, "difference": self.difference and asdict(self.difference), "by_seed": by_seed}

    @property
    def ms_per_frame(self) -> float:
        """Engine, sidecar and update: median over seeds."""
        return statistics.median(found.ms_per_frame for found in self.measured.values())

    @property
    def peak_memory_mib(self) -> float:
        """Of the process: highest over seeds; NaN where the system does not tell."""
        peaks = [found.peak_memory_mib for found in self.measured.values()]
        return max((peak for peak in peaks if peak is not None), default=float("nan"))


@dataclass(frozen=True, slots=True)
class ProtocolResult:
    """All methods under one protocol, the source first.

    Attributes:
        protocol: as written.
        frames: of one seed's stream.
        window: frames behind a running error, and behind frames to recover.
        marks: the frame at which each domain began in the first seed, and its name.
        methods: by name.
    """

    protocol: str
    frames: int
    window: int
    marks: tuple[tuple[float, str], ...]
    methods: dict[str, MethodResult]

    @property
    def source(self) -> MethodResult:
        """What all others are compared with."""
        return self.methods[SOURCE]


def assemble(settings: BenchSettings, out: Path) -> list[ProtocolResult]:
    """The results of a benchmark whose every cell is done.

    Raises:
        StorageError: a cell's file is missing or damaged.
    """
    return [
        _protocol_result(protocol, list(_with_source(loaded, out)), settings.bootstrap)
        for protocol, loaded in groupby(load_cells(settings, out), key=lambda entry: entry[0].protocol)
    ]


def _with_source(loaded: Iterable[tuple[Cell, CellRecord, CellRecord, Measured]], out: Path) -> Iterable[Run]:
    """The source is the first of each seed."""
    source: tuple[CellRecord, CellRecord] | None = None
    for cell, record, clean, measured in loaded:
        if cell.method == SOURCE or source is None:
            source = record, clean
        yield Run(cell, record, clean, measured, *source, cell.files(out).counts())


def _protocol_result(protocol: str, runs: Sequence[Run], samples: int) -> ProtocolResult:
    first = runs[0].record
    marks = _domain_marks(first)
    window = _window(len(first), len(marks))
    by_method: dict[str, list[Run]] = {}
    for run in runs:
        by_method.setdefault(run.cell.method, []).append(run)
    methods = {name: _method_result(name, group, window, samples) for name, group in by_method.items()}
    return ProtocolResult(protocol, len(first), window, marks, methods)


def _method_result(name: str, runs: Sequence[Run], window: int, samples: int) -> MethodResult:
    found = {run.cell.seed: _figures(run, window, samples) for run in runs}
    cells = list(found.values())
    pooled = pooled_difference(
        [run.record for run in runs], [run.source for run in runs], rng=_interval_rng(), samples=samples
    )
    return MethodResult(
        name=name,
        error=spread([cell.mean_error for cell in cells]),
        error_by_domain=_mean_by_domain([cell.error_by_domain for cell in cells]),
        difference=None if name == SOURCE else pooled,
        forgetting=spread([_forgetting(run) for run in runs]),
        calibration_error=spread([cell.calibration_error for cell in cells]),
        recovery_frames=typical_recovery([shift for cell in cells for shift in cell.recovery]),
        share_frozen=statistics.fmean(cell.share_frozen for cell in cells),
        updates=sum(cell.updates for cell in cells),
        rollbacks=sum(cell.rollbacks for cell in cells),
        failures=sum(cell.failures for cell in cells),
        unanswered=sum(cell.unanswered for cell in cells),
        by_seed=found,
        counts={run.cell.seed: run.counts for run in runs},
        measured={run.cell.seed: run.measured for run in runs},
        trace=running_error_trace(runs[0].record.wrong, window),
    )


def _figures(run: Run, window: int, samples: int) -> CellFigures:
    source = None if run.cell.method == SOURCE else run.source
    return figures(run.record, source, rng=_interval_rng(), samples=samples, window=window)


def _interval_rng() -> np.random.Generator:
    return np.random.default_rng(_INTERVAL_SEED)


def _forgetting(run: Run) -> float:
    return forgetting(run.clean.prediction, run.source_clean.prediction, run.clean.label)


def _mean_by_domain(errors: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Over the seeds in which a domain had frames."""
    names = dict.fromkeys(name for cell in errors for name in cell)
    return {name: statistics.fmean(cell[name] for cell in errors if name in cell) for name in names}


def _domain_marks(record: CellRecord) -> tuple[tuple[float, str], ...]:
    begins: NDArray[np.int64] = np.flatnonzero(np.diff(record.domain, prepend=-1))
    return tuple((float(frame), record.domains[record.domain[frame]]) for frame in begins.tolist())


def _window(frames: int, visits: int) -> int:
    """A quarter of a mean visit to a domain, within bounds; where domains change too fast, the lower one."""
    return max(_NARROWEST, min(_WIDEST, frames // (_VISITS_A_WINDOW * visits)))
