"""A benchmark from settings to report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from moase_edge.bench.bench_report import BenchReport, write_bench_report
from moase_edge.bench.grid import SETTINGS, SUBJECT, Cell, begun_with, cells_of, prepare_folder, run_grid
from moase_edge.bench.results import assemble
from moase_edge.config.bench import BenchSettings
from moase_edge.errors import ConfigError
from moase_edge.report.files import read_json


def run_benchmark(
    settings: BenchSettings, out: Path, *, jobs: int, on_progress: Callable[[list[Cell]], None]
) -> tuple[BenchReport, Path]:
    """Run what is not done yet in `out`, write the report, and return it with its page.

    Raises:
        ConfigError: settings that do not fit each other, the data or the folder.
        MoaseEdgeError: what a cell raised; finished cells are kept.
    """
    cells_of(settings)
    prepare_folder(out, settings)
    run_grid(settings, out, jobs=jobs, on_progress=on_progress)
    report = load_benchmark(out)
    return report, write_bench_report(out, report)


def load_benchmark(out: Path) -> BenchReport:
    """The results that lie in a folder.

    Raises:
        ConfigError: no benchmark, or one that is not finished.
        StorageError: a file is damaged.
    """
    if not (out / SETTINGS).is_file():
        raise ConfigError(
            f"{out} holds no benchmark: there is no {SETTINGS}. Name a folder of `moase-edge bench`."
        )
    settings = begun_with(out)
    missing = [cell for cell in cells_of(settings) if not cell.files(out).done]
    if missing:
        raise ConfigError(
            f"{len(missing)} cells of {out} are not done, such as {missing[0].method} under "
            f"{missing[0].protocol}. Run the same command again to finish it."
        )
    return BenchReport(settings, read_json(out / SUBJECT), assemble(settings, out))
