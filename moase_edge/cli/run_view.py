"""What `run` shows: a line of progress while it lasts, and the figures at its end."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from moase_edge.frames.source import Source
from moase_edge.report.tables import to_rich
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.run_report import error_table, latency_table

_SPEED_STAGES = ("preprocess", "engine", "sidecar", "update")


class RunView:
    """Progress on standard error, the final figures on standard output (or on standard error with `to_stderr`)."""

    def __init__(self, pipeline: Pipeline, source: Source, *, to_stderr: bool) -> None:
        self._pipeline, self._source = pipeline, source
        self._console = Console(stderr=to_stderr)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(escape(source.name), total=source.length, rate="")

    def __enter__(self) -> RunView:
        facts = self._pipeline.facts
        lines = {**facts, "source": self._source.name, "adapt": self._pipeline.schedule.mode}
        for name in ("artifact", "engine", "source", "adapt"):
            Console(stderr=True).print(f"{name:9}{escape(str(lines[name]))}", highlight=False, soft_wrap=True)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, result: Result) -> None:
        """One more frame was answered."""
        total = self._pipeline.record.profile.summaries().get("total")
        rate = f"{1000 / total.mean_ms:.1f} fps" if total and total.mean_ms else ""
        answer = "" if result.prediction is None else f"{result.label or f'class {result.prediction}'}"
        self._progress.update(self._task, advance=1, rate=f"{rate}  {escape(answer)}")

    def finish(self, folder: Path) -> None:
        """Print the figures of the whole run and where its report is."""
        record, console = self._pipeline.record, self._console
        errors = error_table(record)
        for table in (errors, latency_table(record)):
            if table is not None:
                console.print(to_rich(table))
        counts = dict(record.counts)
        console.print(
            f"{counts['frames']} frames: {counts['answered_adapted']} answered adapted, "
            f"{counts['answered_frozen']} frozen; {counts['updates']} updates"
            + "".join(f"; {reason}: {count}" for reason, count in self._pipeline.method.failures.items()),
            highlight=False,
        )
        console.print(self._speed_line(), highlight=False, soft_wrap=True)
        console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)

    def _speed_line(self) -> str:
        summaries = self._pipeline.record.profile.summaries()
        parts = [f"{summaries[s].p50_ms:.1f} ms {s}" for s in _SPEED_STAGES if s in summaries]
        return f"speed (median): {', '.join(parts)} per frame"
