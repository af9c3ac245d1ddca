"""One run from its first frame to its report."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain, count
from pathlib import Path
from time import perf_counter
from typing import Any

from moase_edge.artifact.files import refuse_existing, storage_errors
from moase_edge.errors import MoaseEdgeError, StorageError
from moase_edge.frames.source import Source
from moase_edge.report.files import RotatingJsonl, write_json
from moase_edge.runtime.emit import ConsumerGone
from moase_edge.runtime.machine import describe_machine
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.run_report import PAGE, PICTURES, SUMMARY, RunReport, write_report
from moase_edge.runtime.snapshots import Position, Snapshots

logger = logging.getLogger(__name__)

JOURNAL_STEM = "frames"
_SOURCE_ENDED = "the source ended"
_OLDER_JOURNAL = re.compile(rf"{JOURNAL_STEM}\.[0-9]+\.jsonl")


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        ended: why, in words.
        report: the report that was written.
    """

    ended: str
    report: RunReport


def refuse_report_folder(folder: Path, *, force: bool) -> None:
    """Raise what `prepare_report_folder` would raise for a folder that may not be taken; changes nothing."""
    with storage_errors(folder):
        refuse_existing(folder, force=force, marker=SUMMARY)


def prepare_report_folder(folder: Path, *, force: bool) -> None:
    """Make the folder; with `force`, remove what an earlier run wrote there, and nothing else.

    A summary that says "not ended" marks the folder as a report until the run ends, or for ever if it is killed.

    Raises:
        ConfigError: it holds something and `force` is not given, or it is no report.
        StorageError: it cannot be written.
    """
    refuse_report_folder(folder, force=force)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in _written_by_runs(folder):
            path.unlink(missing_ok=True)
    write_json(folder / SUMMARY, {"ended": None})


def new_report_folder(root: Path) -> Path:
    """A folder below `root` that this call made, named by date and time, and prepared.

    Raises:
        StorageError: it cannot be made.
    """
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        # Runs on several cameras may be started in the same second.
        for name in chain([stamp], (f"{stamp}-{number}" for number in count(2))):
            try:
                (root / name).mkdir()
            except FileExistsError:
                continue
            break
    prepare_report_folder(root / name, force=False)
    return root / name


def run_and_report(
    pipeline: Pipeline,
    source: Source,
    folder: Path,
    *,
    facts: dict[str, Any],
    on_result: Callable[[Result], None],
    on_end: Callable[[RunReport], None] | None = None,
    max_frames: int | None = None,
    batch_size: int = 1,
    snapshots: Snapshots | None = None,
    start: Position | None = None,
) -> RunOutcome:
    """Run a pipeline to its end, whatever ends it, and write the report.

    Args:
        folder: made by `prepare_report_folder`.
        facts: what the report says of the run besides its figures: artifact, engine, settings.
        on_result: is handed each result before it is learned from; may raise ConsumerGone to end the run.
        snapshots: keeps what is learned, where given.
        start: where to go on in the source (see `Snapshots.resume`).
        on_end: is handed what the report says once it is written, before an error that ended the run is raised.

    Raises:
        MoaseEdgeError: what ended the run early; the report is written first. So for any exception of `on_result`.
        StorageError: the report cannot be written.
    """
    started_at, began_s = datetime.now(timezone.utc), perf_counter()
    pipeline.controls.begin(snapshots, source, start)
    with closing(RotatingJsonl(folder, JOURNAL_STEM)) as journal:
        results = pipeline.run(source, max_frames=max_frames, batch_size=batch_size, journal=journal, start=start)
        failure = _consume(results, on_result)
    pipeline.controls.end()
    run_facts = {**facts, **_facts_of(pipeline, source, batch_size, started_at, perf_counter() - began_s)}
    ended = _why_ended(pipeline, failure, max_frames)
    if snapshots is not None:
        snapshots.finish(pipeline.position, ended=ended == _SOURCE_ENDED)
    report = _report_of(pipeline, source, run_facts, ended, journal.lost_lines)
    _tell(folder, report, pipeline, failure, on_end)
    return RunOutcome(report.ended, report)


def _facts_of(
    pipeline: Pipeline, source: Source, batch_size: int, started_at: datetime, duration_s: float
) -> dict[str, Any]:
    """What a report says of every run, whatever it is of."""
    return {
        "source": source.name,
        "pace": "real" if source.live else "full",
        "adapt": pipeline.schedule.mode,
        "batch_size": batch_size,
        "started_at": started_at.isoformat(timespec="seconds"),
        "duration_s": round(duration_s, 3),
        "frames_per_second": round(pipeline.record.counts["frames"] / duration_s, 3),
    }


def _report_of(
    pipeline: Pipeline, source: Source, facts: dict[str, Any], ended: str, lost_lines: int
) -> RunReport:
    return RunReport(
        title=f"{facts.get('artifact', 'moase-edge')} on {source.name}",
        ended=ended,
        facts=facts,
        source_counts=vars(source.counts),
        failures={**pipeline.counted.failures, **pipeline.outside_the_ranges()},
        lost_lines=lost_lines,
        machine=describe_machine(),
        adaptation=pipeline.counted.events,
        state=None if pipeline.controls.snapshots is None else pipeline.controls.snapshots.counts(),
    )


def _consume(results: Generator[Result, None, None], on_result: Callable[[Result], None]) -> Exception | None:
    """Hand out every result; what ended that early is returned, because the report comes first."""
    try:
        with closing(results):
            for result in results:
                on_result(result)
    except Exception as exc:
        return exc
    return None


def _why_ended(pipeline: Pipeline, failure: Exception | None, max_frames: int | None) -> str:
    if isinstance(failure, ConsumerGone):
        return "the reader of the answers went away"
    if failure is not None:
        # Others than ours may have no message at all.
        return f"an error stopped it: {failure if isinstance(failure, MoaseEdgeError) else repr(failure)}"
    if pipeline.stopping:
        return "it was interrupted"
    if max_frames is not None and pipeline.record.counts["frames"] >= max_frames:
        return f"{max_frames} frames were asked for"
    return _SOURCE_ENDED


def _tell(
    folder: Path,
    report: RunReport,
    pipeline: Pipeline,
    failure: Exception | None,
    on_end: Callable[[RunReport], None] | None,
) -> None:
    """Write the report and hand it out, whatever comes of that; then raise what ended the run early."""
    try:
        _write(folder, report, pipeline, failure)
    finally:
        if on_end is not None:
            on_end(report)
    if failure is not None and not isinstance(failure, ConsumerGone):
        raise failure


def _write(folder: Path, report: RunReport, pipeline: Pipeline, failure: Exception | None) -> None:
    """Write the report; where the run itself failed, that is what the caller must hear of."""
    try:
        write_report(folder, report, pipeline.record)
    except StorageError as exc:
        if failure is None:
            raise
        logger.warning("there is no report of the run: %s", exc)


def _written_by_runs(folder: Path) -> Iterator[Path]:
    """What any run may have left in a report folder; other names are somebody else's."""
    yield folder / f"{JOURNAL_STEM}.jsonl"
    yield from (path for path in folder.iterdir() if _OLDER_JOURNAL.fullmatch(path.name))
    yield from (folder / name for name in (SUMMARY, PAGE, *PICTURES))
