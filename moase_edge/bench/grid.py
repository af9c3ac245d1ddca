"""All cells of a benchmark: run those that are missing, in processes, and keep each as soon as it is done."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from time import perf_counter

from moase_edge.artifact.files import sha256_of
from moase_edge.bench.cells import Measured, forget_peak_memory, run_cell
from moase_edge.bench.latency_aware import LatencyAware
from moase_edge.bench.methods import build_method, frame_cost, method_spec
from moase_edge.bench.processes import numbers_to_take, run_in_processes
from moase_edge.bench.protocol_choice import file_stem, parse_protocol
from moase_edge.bench.workbench import Workbench
from moase_edge.config.base import load_settings
from moase_edge.config.bench import BenchSettings
from moase_edge.errors import AdaptationError, ConfigError, StorageError
from moase_edge.metrics.cell import CellRecord
from moase_edge.report.files import read_json, write_json
from moase_edge.report.plain import plain_json
from moase_edge.report.record_file import load_record, save_record
from moase_edge.runtime.method import counts_of
from moase_edge.runtime.scheduler import Timing, parse_schedule
from moase_edge.version import __version__

SETTINGS = "settings.json"
SUBJECT = "subject.json"
CELLS = "cells"
_RECORD, _CLEAN, _MEASURED, _COUNTS = "record.npz", "clean.npz", "measured.json", "counts.json"
# Beside the settings: other weights or another version would not give the same results.
_ORIGIN = ("checkpoint_sha256", "version")
SOURCE = "source"
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Cell:
    """One method under one protocol with one seed."""

    protocol: str
    seed: int
    method: str

    def files(self, out: Path) -> CellFiles:
        """Where its results are kept."""
        return CellFiles(out / CELLS / f"{file_stem(self.protocol)}--{self.seed}--{self.method}")


@dataclass(frozen=True, slots=True)
class CellFiles:
    """A cell's folder: `record.npz`, `clean.npz`, `measured.json` and, of a method that counts, `counts.json`."""

    folder: Path

    @property
    def done(self) -> bool:
        """Whether the cell was finished; not where one of its files is missing, so that it is run again."""
        return all((self.folder / name).is_file() for name in (_RECORD, _CLEAN, _MEASURED))

    def save(
        self, record: CellRecord, clean: CellRecord, measured: Measured, counts: Mapping[str, int] | None = None
    ) -> None:
        """Keep a finished cell.

        Args:
            counts: what the method found and did on the stream.

        Raises:
            StorageError: the folder cannot be written.
        """
        save_record(self.folder / _RECORD, record)
        save_record(self.folder / _CLEAN, clean)
        if counts:
            write_json(self.folder / _COUNTS, dict(counts))
        write_json(self.folder / _MEASURED, asdict(measured))

    def load(self) -> tuple[CellRecord, CellRecord, Measured]:
        """Record, record on clean pictures afterwards, and what was measured.

        Raises:
            StorageError: a file is missing or damaged.
        """
        return load_record(self.folder / _RECORD), load_record(self.folder / _CLEAN), self._measured()

    def counts(self) -> dict[str, int]:
        """What the method found and did; empty for one that counts nothing.

        Raises:
            StorageError: the file is damaged.
        """
        path = self.folder / _COUNTS
        return read_json(path) if path.is_file() else {}

    def _measured(self) -> Measured:
        path = self.folder / _MEASURED
        plain = read_json(path)
        try:
            stages = {stage: _number(value) for stage, value in plain["ms_by_stage"].items()}
            return Measured(stages, plain["peak_memory_mib"], _number(plain["wall_s"]))
        except (AttributeError, KeyError, TypeError) as exc:
            raise StorageError(
                f"{path} is not what was measured of a cell; delete it, and the cell is run again"
            ) from exc


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def cells_of(settings: BenchSettings) -> list[Cell]:
    """Every cell, the source of each protocol and seed first: all others are compared with it.

    Raises:
        ConfigError: an unknown method or protocol.
    """
    for method in settings.methods:
        _refuse_unfitting(method, settings)
    for protocol in settings.protocols:
        parse_protocol(protocol)
    methods = dict.fromkeys((SOURCE, *settings.methods))
    return [Cell(p, s, m) for p in settings.protocols for s in settings.seeds for m in methods]


def _refuse_unfitting(method: str, settings: BenchSettings) -> None:
    """Say before anything is loaded what would stop the benchmark in its midst."""
    spec = method_spec(method)
    if spec.needs_batch_norm:
        raise ConfigError(
            f"{method} needs a network with BatchNorm, and {settings.backbone} has none, as every vision "
            "transformer that can be split. Leave it out."
        )
    if spec.needs_source_images and not settings.source_images:
        raise ConfigError(f"{method} needs source images; keep some aside with --source-images, or leave it out.")


def prepare_folder(out: Path, settings: BenchSettings) -> None:
    """Make the folder, or take up one that was begun with the same settings, weights and version.

    Where nothing was finished, other settings take the folder over: those before may have been mistyped.

    Raises:
        ConfigError: the folder belongs to other settings, or is not a benchmark's.
        StorageError: it cannot be read or written.
    """
    path = out / SETTINGS
    weights = sha256_of(settings.checkpoint) if settings.checkpoint and settings.checkpoint.is_file() else None
    origin = dict(zip(_ORIGIN, (weights, __version__), strict=True))
    plain = plain_json({**settings.model_dump(mode="json"), **origin})
    if not path.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} holds something that is no benchmark. Name another folder with --out.")
        write_json(path, plain)
        return
    found = read_json(path)
    differing = [name for name in {**plain, **found} if plain.get(name) != found.get(name)]
    if differing and not any((out / CELLS).glob(f"*/{_MEASURED}")):
        write_json(path, plain)
    elif differing:
        raise ConfigError(
            f"{out} was begun with other settings ({', '.join(differing)} differ). Resume with the same ones, "
            "or name another folder with --out."
        )


def begun_with(out: Path) -> BenchSettings:
    """The settings of a benchmark's folder.

    Raises:
        ConfigError, StorageError: they cannot be read.
    """
    return load_settings(BenchSettings, {k: v for k, v in read_json(out / SETTINGS).items() if k not in _ORIGIN})


def run_grid(settings: BenchSettings, out: Path, *, jobs: int, on_progress: Callable[[list[Cell]], None]) -> None:
    """Run every cell that is not done yet. Results do not depend on the number of jobs.

    Args:
        jobs: processes.
        on_progress: is told now and then which cells are done.

    Raises:
        MoaseEdgeError: what a cell raised; finished cells are kept.
    """
    cells = cells_of(settings)
    tasks = tasks_of([cell for cell in cells if not cell.files(out).done])
    on_progress([cell for cell in cells if cell.files(out).done])
    if not tasks:
        return
    jobs = min(jobs, len(tasks))
    with (
        numbers_to_take(len(tasks)) as numbers,
        run_in_processes(jobs, work, settings, out, tasks, numbers) as running,
    ):
        pending = running
        while pending:
            finished, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            _raise_first(finished)
            on_progress([cell for cell in cells if cell.files(out).done])


def tasks_of(cells: Sequence[Cell]) -> list[tuple[Cell, ...]]:
    """Cells that one process runs one after the other.

    What runs on the split stays together, because it shares the engine's outputs; whatever trains a whole network
    goes alone, the costliest first, so that processes end at about the same time.
    """
    tasks = []
    for group in dict.fromkeys((cell.protocol, cell.seed) for cell in cells):
        members = [cell for cell in cells if (cell.protocol, cell.seed) == group]
        split = tuple(cell for cell in members if not method_spec(cell.method).whole_network)
        whole = [cell for cell in members if method_spec(cell.method).whole_network]
        whole.sort(key=lambda cell: -frame_cost(cell.method))
        tasks += [(cell,) for cell in whole] + ([split] if split else [])
    return tasks


def _raise_first(finished: set[Future[None]]) -> None:
    for future in finished:
        try:
            future.result()
        except BrokenProcessPool as exc:
            raise AdaptationError(
                "a process of the benchmark was ended from outside, perhaps for want of memory. What was finished "
                "is kept: run the same command again, with fewer --jobs."
            ) from exc


def work(settings: BenchSettings, out: Path, tasks: Sequence[tuple[Cell, ...]], numbers: Queue[int]) -> None:
    """What one process does: task after task, by number, until none is left."""
    with contextlib.closing(Workbench(settings)) as bench:
        write_json(out / SUBJECT, bench.facts())
        with _quick_collections():
            for number in _taken(numbers):
                for cell in tasks[number]:
                    run_one(bench, cell, out)


@contextlib.contextmanager
def _quick_collections() -> Iterator[None]:
    """Leave what is there now out of collections: to look through all packages takes longer than many a cell."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _taken(numbers: Queue[int]) -> Iterator[int]:
    with contextlib.suppress(Empty):
        while True:
            yield numbers.get_nowait()


def run_one(bench: Workbench, cell: Cell, out: Path) -> None:
    """One cell: the stream, then every clean picture with what was learned."""
    frames = bench.frames(cell.protocol, cell.seed)
    began_s = perf_counter()
    method = build_method(cell.method, frames.part.subject, cell.seed)
    schedule: Timing = parse_schedule("every")
    if frames.protocol.latency_aware:
        schedule = LatencyAware(frame_cost(cell.method))
    forget_peak_memory()
    engine = None if method_spec(cell.method).whole_network else bench.engine
    run = partial(run_cell, method, preprocessor=bench.preprocessor, batch_size=frames.batch_size)
    record, measured = run(frames=frames.shown, schedule=schedule, engine=engine)
    counts = counts_of(method)
    clean, _ = run(frames=frames.part.clean, schedule=parse_schedule("hold"))
    cell.files(out).save(record, clean, replace(measured, wall_s=perf_counter() - began_s), counts)


def load_cells(settings: BenchSettings, out: Path) -> Iterator[tuple[Cell, CellRecord, CellRecord, Measured]]:
    """Every cell with its record, its record on clean pictures afterwards, and what was measured."""
    for cell in cells_of(settings):
        yield (cell, *cell.files(out).load())
