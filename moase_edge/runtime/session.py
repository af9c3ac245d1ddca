"""One run from its first frame to its report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moase_edge.artifact.files import refuse_existing, storage_errors
from moase_edge.errors import MoaseEdgeError
from moase_edge.frames.source import Source
from moase_edge.report.files import RotatingJsonl
from moase_edge.runtime.emit import ConsumerGone
from moase_edge.runtime.machine import describe_machine
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.run_report import SUMMARY, RunReport, write_report

logger = logging.getLogger(__name__)

JOURNAL_STEM = "frames"


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        ended: why, in words.
        report: the report that was written.
    """

    ended: str
    report: RunReport


def prepare_report_folder(folder: Path, *, force: bool) -> None:
    """Make the folder; with `force`, remove what an earlier run wrote there, and nothing else.

    Raises:
        ConfigError: it holds something and `force` is not given, or it is no report.
        StorageError: it cannot be written.
    """
    refuse_existing(folder, force=force, marker=SUMMARY)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in (f"{JOURNAL_STEM}*.jsonl", SUMMARY, "*.png", "report.html"):
            for path in folder.glob(pattern):
                path.unlink()


def run_and_report(
    pipeline: Pipeline,
    source: Source,
    folder: Path,
    *,
    facts: dict[str, Any],
    on_result: Callable[[Result], None],
    max_frames: int | None = None,
    batch_size: int = 1,
) -> RunOutcome:
    """Run a pipeline to its end, whatever ends it, and write the report.

    Args:
        folder: made by `prepare_report_folder`.
        facts: what the report says of the run besides its figures: artifact, engine, settings.
        on_result: is handed each result before it is learned from; may raise ConsumerGone to end the run.

    Raises:
        MoaseEdgeError: what ended the run early; the report is written first.
        StorageError: the report cannot be written.
    """
    with closing(RotatingJsonl(folder, JOURNAL_STEM)) as journal:
        failure, ended = None, "the source ended"
        try:
            results = pipeline.run(source, max_frames=max_frames, batch_size=batch_size, journal=journal)
            with closing(results):  # type: ignore[type-var]
                for result in results:
                    on_result(result)
        except ConsumerGone:
            ended = "the reader of the answers went away"
        except MoaseEdgeError as exc:
            failure, ended = exc, f"stopped by an error: {exc}"
        if pipeline.stopping:
            ended = "interrupted"
        elif max_frames is not None and pipeline.record.counts["frames"] >= max_frames:
            ended = f"{max_frames} frames were asked for"
    report = RunReport(
        title=f"{facts.get('artifact', 'moase-edge')} on {source.name}",
        ended=ended,
        facts={**facts, "source": source.name, "adapt": pipeline.schedule.mode, "batch_size": batch_size},
        source_counts=vars(source.counts),
        failures=dict(pipeline.method.failures),
        lost_lines=journal.lost_lines,
        machine=describe_machine(),
    )
    write_report(folder, report, pipeline.record)
    if failure is not None:
        raise failure
    return RunOutcome(ended, report)
