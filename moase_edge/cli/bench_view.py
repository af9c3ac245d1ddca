"""What `bench` shows."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from moase_edge.bench.bench_report import BenchReport, frame_cost_table, opening_lines, protocol_table
from moase_edge.bench.grid import Cell
from moase_edge.bench.methods import frame_cost
from moase_edge.bench.site_figures import OnSite
from moase_edge.bench.site_report import cautions, cost_table, on_site_table, order_table, verdict_sentences
from moase_edge.report.tables import Table, to_rich


class BenchView:
    """Progress on standard error: a bar on a terminal, else a line a cell; the tables on standard output.

    Args:
        cells: all that the benchmark has, done or not.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells
        self._cost = sum(map(_cost, cells))
        self._seen: set[Cell] = set()
        self._begun, self._began_s, self._cost_before = False, perf_counter(), 0.0
        console = Console(stderr=True)
        self._on_terminal = console.is_terminal
        columns = (BarColumn(), TextColumn("{task.completed}/{task.total} cells"), TimeElapsedColumn())
        self._progress = Progress(
            *columns,
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not self._on_terminal,
        )
        self._task = self._progress.add_task("", total=len(cells), left="")

    def __enter__(self) -> BenchView:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def progress(self, done: Sequence[Cell]) -> None:
        """These cells are done; the first call tells what an earlier run had finished."""
        first = not self._begun
        new = [cell for cell in done if cell not in self._seen]
        numbers = range(len(self._seen) + 1, len(self._seen) + len(new) + 1)
        self._seen.update(new)
        if first:
            self._begin(new)
            return
        left = self._time_left()
        self._progress.update(self._task, completed=len(self._seen), left=left)
        if not self._on_terminal:
            for number, cell in zip(numbers, new, strict=True):
                place = f"{number:4d}/{len(self._cells)}"
                print(
                    f"{place}  {cell.protocol}, seed {cell.seed}, {cell.method}  {left}",
                    file=sys.stderr,
                    flush=True,
                )

    def _begin(self, finished: Sequence[Cell]) -> None:
        """Time is counted from here on; what was finished before takes none of it."""
        self._begun, self._began_s, self._cost_before = True, perf_counter(), sum(map(_cost, finished))
        self._progress.update(self._task, completed=len(finished))
        if finished:
            print(f"{len(finished)} of {len(self._cells)} cells were finished before", file=sys.stderr, flush=True)

    def _time_left(self) -> str:
        """From what each frame of a method costs; protocols are taken to be of one length."""
        spent = sum(map(_cost, self._seen)) - self._cost_before
        if spent <= 0:
            return ""
        left_s = (perf_counter() - self._began_s) * (self._cost - self._cost_before - spent) / spent
        return f"about {left_s / 60:.0f} min left" if left_s >= 90 else f"about {left_s:.0f} s left"

    def show(self, report: BenchReport, page: Path) -> None:
        """Source error, normalisation, subset and seeds first; then the tables, and where the report is."""
        show_lines(opening_lines(report))
        tables = [protocol_table(found, brief=True) for found in report.protocols]
        methods = list(dict.fromkeys(name for found in report.protocols for name in found.methods))
        show_tables([*tables, frame_cost_table(methods)])
        show_lines([f"report: {page}"])


class SiteView:
    """A line a stage on standard error; verdict, cautions and tables on standard output."""

    def __init__(self) -> None:
        self._began_s = perf_counter()

    def stage(self, name: str) -> None:
        """A stage begins."""
        print(f"  {perf_counter() - self._began_s:6.1f} s  {name}", file=sys.stderr, flush=True)

    def show(self, outcome: OnSite, page: Path) -> None:
        """The verdict first, then what it rests on, and where the report is."""
        show_lines([*verdict_sentences(outcome), *(f"Beware: {line}" for line in cautions(outcome))])
        show_tables([on_site_table(outcome), order_table(outcome), cost_table(outcome)])
        show_lines([f"report: {page}"])


def show_tables(tables: Iterable[Table]) -> None:
    """Tables on standard output."""
    console = Console()
    for table in tables:
        console.print(to_rich(table))


def show_lines(lines: Iterable[str]) -> None:
    """Lines on standard output, as they are."""
    console = Console()
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cost(cell: Cell) -> float:
    """Frame times a frame, and one for what every cell has to do besides."""
    return 1.0 + frame_cost(cell.method)
