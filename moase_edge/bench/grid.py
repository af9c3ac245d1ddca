"""All cells of a benchmark: run those that are missing, in processes, and keep each as soon as it is done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from moase_edge.bench.cells import Measured, run_cell
from moase_edge.bench.latency_aware import FRAME_COSTS, LatencyAware
from moase_edge.bench.methods import build_method, method_spec
from moase_edge.bench.workbench import LATENCY_AWARE, Workbench, parse_protocol
from moase_edge.config.bench import BenchSettings
from moase_edge.data.labelled import LabelledImage
from moase_edge.errors import ConfigError
from moase_edge.metrics.cell import CellRecord
from moase_edge.report.files import write_json
from moase_edge.report.record_file import load_record, save_record
from moase_edge.runtime.scheduler import Timing, parse_schedule

SETTINGS = "settings.json"
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
        plain = {"ms_by_stage": measured.ms_by_stage, "peak_memory_mib": measured.peak_memory_mib}
        write_json(self.folder / "measured.json", plain)

    def load(self) -> tuple[CellRecord, CellRecord, Measured]:
        """Record, record on clean pictures afterwards, and what was measured."""
        plain = json.loads((self.folder / "measured.json").read_text(encoding="utf-8"))
        records = load_record(self.folder / "record.npz"), load_record(self.folder / "clean.npz")
        return (*records, Measured(**plain))


def cells_of(settings: BenchSettings) -> list[Cell]:
    """Every cell, the source of each protocol and seed first: all others are compared with it.

    Raises:
        ConfigError: an unknown method or protocol.
    """
    for method in settings.methods:
        method_spec(method)
    for protocol in settings.protocols:
        parse_protocol(protocol)
    methods = dict.fromkeys((SOURCE, *settings.methods))
    return [Cell(p, s, m) for p in settings.protocols for s in settings.seeds for m in methods]


def prepare_folder(out: Path, settings: BenchSettings) -> None:
    """Make the folder, or take up one that was begun with the same settings.

    Raises:
        ConfigError: the folder belongs to other settings, or is not a benchmark's.
    """
    path, plain = out / SETTINGS, settings.model_dump(mode="json")
    if not path.is_file():
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"{out} holds something that is no benchmark. Name another folder with --out.")
        write_json(path, plain)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name in {**plain, **found} if plain.get(name) != found.get(name)]
    if differing:
        raise ConfigError(
            f"{out} was begun with other settings ({', '.join(differing)} differ). Resume with the same ones, "
            "or name another folder with --out."
        )


def run_grid(settings: BenchSettings, out: Path, *, jobs: int, on_progress: Callable[[list[Cell]], None]) -> None:
    """Run every cell that is not done yet. Results do not depend on the number of jobs.

    Args:
        jobs: processes; each takes all methods of one protocol and seed.
        on_progress: is told now and then which cells are done.

    Raises:
        MoaseEdgeError: what a cell raised; finished cells are kept.
    """
    cells = cells_of(settings)
    groups = dict.fromkeys((c.protocol, c.seed) for c in cells if not c.files(out).done)
    # Spawned, also for one job: every cell starts from the same state of every library.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(run_group, settings, out, protocol, seed) for protocol, seed in groups}
        try:
            while pending:
                finished, pending = wait(pending, timeout=_POLL_S)
                _raise_first(finished)
                on_progress([cell for cell in cells if cell.files(out).done])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(pool._processes.values()):
                process.terminate()
            raise


def _raise_first(finished: set[Future[None]]) -> None:
    for future in finished:
        future.result()


def run_group(settings: BenchSettings, out: Path, protocol: str, seed: int) -> None:
    """All missing cells of one protocol and seed, on frames that are made once."""
    choice = parse_protocol(protocol)
    bench = Workbench(settings, seed)
    stream = bench.stream(choice)
    frames, clean = list(stream), list(bench.clean())
    batch_size = stream.batch_size or settings.batch_size
    for cell in cells_of(settings):
        if (cell.protocol, cell.seed) == (protocol, seed) and not cell.files(out).done:
            _run_one(bench, cell, frames, clean, batch_size, out)
    bench.close()


def _run_one(
    bench: Workbench,
    cell: Cell,
    frames: list[LabelledImage],
    clean: list[LabelledImage],
    batch_size: int,
    out: Path,
) -> None:
    method = build_method(cell.method, bench.subject, cell.seed)
    schedule: Timing = parse_schedule("every")
    if parse_protocol(cell.protocol).name == LATENCY_AWARE:
        schedule = LatencyAware(FRAME_COSTS[cell.method])
    record, measured = run_cell(method, frames, bench.preprocessor, schedule, batch_size=batch_size)
    afterwards, _ = run_cell(method, clean, bench.preprocessor, parse_schedule("hold"), batch_size=batch_size)
    measured.ms_by_stage["engine"] = _real_engine_ms(bench, cell, measured)
    cell.files(out).save(record, afterwards, measured)


def _real_engine_ms(bench: Workbench, cell: Cell, measured: Measured) -> float:
    """What the engine took where it ran; a replayed batch is not faster, it is only not computed again."""
    if method_spec(cell.method).whole_network:
        return measured.ms_by_stage.get("engine", 0.0)
    return bench.engine.ms_per_frame


def load_cells(settings: BenchSettings, out: Path) -> Iterator[tuple[Cell, CellRecord, CellRecord, Measured]]:
    """Every cell with its record, its record on clean pictures afterwards, and what was measured."""
    for cell in cells_of(settings):
        yield (cell, *cell.files(out).load())
