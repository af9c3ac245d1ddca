"""`bench` in this process, on as little as it runs on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from queue import Queue

from moase_edge.bench import grid
from moase_edge.bench.grid import Cell, cells_of, tasks_of
from moase_edge.cli import main
from moase_edge.config.bench import BenchSettings

TINY = ["bench", "--corruptions", "fog,contrast", "--pictures", "4", "--source-images", "20", "--batch-size", "4"]


def run_here(settings: BenchSettings, out: Path, *, jobs: int, on_progress: Callable[[list[Cell]], None]) -> None:
    """`run_grid` in this process: another one takes seconds to import PyTorch."""
    cells = cells_of(settings)
    on_progress([cell for cell in cells if cell.files(out).done])
    for task in tasks_of([cell for cell in cells if not cell.files(out).done]):
        numbers: Queue[int] = Queue()
        numbers.put(0)
        grid.work(settings, out, [task], numbers)
        on_progress([cell for cell in cells if cell.files(out).done])


def ends(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    out, err, code = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as exc:
            code = int(exc.code or 0)
    assert "Traceback" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()
