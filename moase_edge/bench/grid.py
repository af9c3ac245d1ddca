"""All cells of a benchmark: run those that are missing, in processes, and keep each as soon as it is done."""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from queue import Empty, Queue
from time import perf_counter

from moase_edge.artifact.files import sha256_of
from moase_edge.bench.cells import Measured, run_cell
from moase_edge.bench.latency_aware import FRAME_COSTS, LatencyAware
from moase_edge.bench.methods import build_method, method_spec
from moase_edge.bench.protocol_choice import parse_protocol
from moase_edge.bench.workbench import Workbench
from moase_edge.config.base import load_settings
from moase_edge.config.bench import BenchSettings
from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.metrics.cell import CellRecord
from moase_edge.report.files import read_json, write_json
from moase_edge.report.plain import plain_json
from moase_edge.report.record_file import load_record, save_record
from moase_edge.runtime.scheduler import Timing, parse_schedule
from moase_edge.version import __version__

SETTINGS = "settings.json"
SUBJECT = "subject.json"
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
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", self.protocol)
        return CellFiles(out / "cells" / f"{slug}--{self.seed}--{self.method}")


@dataclass(frozen=True, slots=True)
class CellFiles:
    """A cell's folder: `record.npz`, `clean.npz` and, written last, `measured.json`."""

    folder: Path

    @property
    def done(self) -> bool:
        """Whether the cell was finished."""
        return (self.folder / "measured.json").is_file()

    def save(self, record: CellRecord, clean: CellRecord, measured: Measured) -> None:
        """Keep a finished cell."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_record(self.folder / "record.npz", record)
        save_record(self.folder / "clean.npz", clean)
        write_json(self.folder / "measured.json", asdict(measured))

    def load(self) -> tuple[CellRecord, CellRecord, Measured]:
        """Record, record on clean pictures afterwards, and what was measured."""
        plain = read_json(self.folder / "measured.json")
        records = load_record(self.folder / "record.npz"), load_record(self.folder / "clean.npz")
        stages = {stage: _number(value) for stage, value in plain["ms_by_stage"].items()}
        return (*records, Measured(stages, plain["peak_memory_mib"], _number(plain["wall_s"])))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


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
    if differing:
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
    # Spawned, also for one job: every cell starts from the same state of every library.
    context = get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(jobs, mp_context=context) as pool:
        queue = manager.Queue()
        for task in tasks:
            queue.put(task)
        pending = {pool.submit(work, settings, out, queue, os.getpid()) for _ in range(min(jobs, len(tasks)))}
        try:
            while pending:
                finished, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                _raise_first(finished)
                on_progress([cell for cell in cells if cell.files(out).done])
        except BaseException:
            for process in list(pool._processes.values()):
                process.terminate()
            raise


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
        whole.sort(key=lambda cell: -FRAME_COSTS[cell.method])
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


def work(settings: BenchSettings, out: Path, tasks: Queue[tuple[Cell, ...]], parent: int) -> None:
    """What one process does: task after task, until none is left or the parent is gone."""
    # The parent hears of an interruption and ends its children; their own tracebacks would drown its words.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.closing(Workbench(settings)) as bench:
        write_json(out / SUBJECT, bench.facts())
        while (task := _next(tasks)) is not None:
            for cell in task:
                if os.getppid() != parent:
                    return
                run_one(bench, cell, out)


def _next(tasks: Queue[tuple[Cell, ...]]) -> tuple[Cell, ...] | None:
    try:
        return tasks.get_nowait()
    except Empty:
        return None


def run_one(bench: Workbench, cell: Cell, out: Path) -> None:
    """One cell: the stream, then every clean picture with what was learned."""
    frames = bench.frames(cell.protocol, cell.seed)
    began_s = perf_counter()
    method = build_method(cell.method, frames.part.subject, cell.seed)
    schedule: Timing = parse_schedule("every")
    if frames.protocol.latency_aware:
        schedule = LatencyAware(FRAME_COSTS[cell.method])
    record, measured = run_cell(method, frames.shown, bench.preprocessor, schedule, batch_size=frames.batch_size)
    hold = parse_schedule("hold")
    clean, _ = run_cell(method, frames.part.clean, bench.preprocessor, hold, batch_size=frames.batch_size)
    stages = dict(measured.ms_by_stage)
    if not method_spec(cell.method).whole_network:
        # What the engine took where it ran: a replayed batch is not faster, it is only not computed again.
        stages["engine"] = bench.engine.ms_per_frame
    wall_s = perf_counter() - began_s
    cell.files(out).save(record, clean, replace(measured, ms_by_stage=stages, wall_s=wall_s))


def load_cells(settings: BenchSettings, out: Path) -> Iterator[tuple[Cell, CellRecord, CellRecord, Measured]]:
    """Every cell with its record, its record on clean pictures afterwards, and what was measured."""
    for cell in cells_of(settings):
        yield (cell, *cell.files(out).load())
