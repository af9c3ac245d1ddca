"""What `run` shows: a line of progress while it lasts, and the figures at its end."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from moase_edge.frames.source import Source
from moase_edge.report.tables import to_rich
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.run_report import PAGE, RunReport, answers_line, error_table, latency_table, outcome_lines

_SPEED_STAGES = ("preprocess", "engine", "sidecar", "update")
_REFRESHES_PER_S = 10
_RATE_OVER = 30  # refreshes, three seconds: a rate over the whole run would hide that it slows down
_NAME_WIDTH = 24
_ANSWER_WIDTH = 24


class RunView:
    """Progress on standard error where that is a terminal; the final figures on standard output.

    Args:
        frames: how many will come, where that is known.
        url: where the run can be watched in a browser; None for nowhere.
        answers_on_stdout: whether standard output carries the answers: the figures then go to standard error, and
            there is no progress between answers on the same terminal.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        *,
        frames: int | None,
        answers_on_stdout: bool,
        url: str | None = None,
    ) -> None:
        self._pipeline, self._source, self._url = pipeline, source, url
        self._stderr = Console(stderr=True)
        self._console = self._stderr if answers_on_stdout else Console()
        mixed = answers_on_stdout and _is_terminal(sys.stdout)
        self._shown = _is_terminal(sys.stderr) and not mixed
        self._progress = Progress(
            *_columns(known=frames is not None),
            _Trouble(source),
            console=self._stderr,
            transient=True,
            disable=not self._shown,
            redirect_stdout=False,
            refresh_per_second=_REFRESHES_PER_S,
        )
        self._task = self._progress.add_task(_shortened(source.name), total=frames, rate="", answer="")
        self._frames = 0
        self._next_s = 0.0
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER)

    def __enter__(self) -> RunView:
        facts = self._pipeline.facts
        lines = {**facts, "source": self._source.name, "adapt": self._pipeline.schedule.mode}
        if "artifact_choice" in facts:
            lines["artifact"] = f"{facts['artifact']} ({facts['artifact_choice']})"
        for name in ("artifact", "engine", "source", "adapt"):
            self._stderr.print(f"{name:9}{escape(str(lines[name]))}", highlight=False, soft_wrap=True)
        if self._url is not None:
            self._stderr.print(f"{'web':9}{self._url}", highlight=False, soft_wrap=True, markup=False)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, result: Result) -> None:
        """One more frame was answered."""
        self._frames += 1
        now_s = perf_counter()
        if not self._shown or now_s < self._next_s:
            return
        self._next_s = now_s + 1 / _REFRESHES_PER_S
        self._recent.append((now_s, self._frames))
        self._progress.update(self._task, completed=self._frames, rate=self._rate(result), answer=_answer(result))

    def _rate(self, result: Result) -> str:
        (began_s, before), (now_s, now) = self._recent[0], self._recent[-1]
        rate = f"{(now - before) / (now_s - began_s):.1f} fps" if now > before else ""
        if not self._source.live:
            return rate
        counts = self._source.counts
        told = {"dropped": counts.dropped, "times lost": counts.reopened}
        troubles = "".join(f", {number} {name}" for name, number in told.items() if number)
        return f"{rate}, age {result.age_ms:.0f} ms{troubles}"

    def finish(self, folder: Path, report: RunReport) -> None:
        """End the progress, print the figures of the whole run and where its report is."""
        self._progress.stop()
        record, console = self._pipeline.record, self._console
        tables = [error_table(record), latency_table(record)] if record.counts["frames"] else []
        for table in tables:
            if table is not None:
                console.print(to_rich(table))
        answers = answers_line(record)
        for line in [*outcome_lines(report, record), *([answers] if answers else []), *self._speed_lines()]:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        if (folder / PAGE).exists():
            console.print(f"report: {folder / PAGE}", markup=False, highlight=False, soft_wrap=True)

    def _speed_lines(self) -> list[str]:
        summaries = self._pipeline.record.profile.summaries()
        parts = [f"{summaries[s].p50_ms:.1f} ms {s}" for s in _SPEED_STAGES if s in summaries]
        return [f"Speed (median): {', '.join(parts)} per frame."] if parts else []


class _Trouble(ProgressColumn):
    """Why no frame comes, as long as that lasts."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source

    def render(self, _task: Task) -> Text:
        # A source of the user's own need not know the word.
        return Text(getattr(self._source, "trouble", None) or "", style="red")


def _is_terminal(stream: TextIO | None) -> bool:
    """None is what a stream is that was closed before the process began."""
    return stream is not None and stream.isatty()


def _columns(*, known: bool) -> list[ProgressColumn]:
    """For a known length a bar and the time that is left, else the time so far."""
    extent = [BarColumn(bar_width=16), MofNCompleteColumn()] if known else [TextColumn("{task.completed} frames")]
    clock = [TimeRemainingColumn(compact=True), TextColumn("left")] if known else [TimeElapsedColumn()]
    return [
        TextColumn("{task.description}"),
        *extent,
        TextColumn("{task.fields[rate]}"),
        *clock,
        TextColumn("{task.fields[answer]}"),
    ]


def _shortened(name: str) -> str:
    """The end of a long name says more than its beginning."""
    return escape(name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}")


def _answer(result: Result) -> str:
    if result.prediction is None:
        return ""
    name = (result.label or f"class {result.prediction}")[:_ANSWER_WIDTH]
    sure = "" if result.confidence is None else f" {100 * result.confidence:.0f} %"
    return escape(name) + sure
