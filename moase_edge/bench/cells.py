"""One cell of a benchmark: a method on a stream, through the shipped pipeline."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from moase_edge.bench.labelled_source import LabelledSource
from moase_edge.bench.recorded_engine import RecordedEngine
from moase_edge.data.labelled import LabelledImage
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.metrics.cell import NO_ANSWER, CellRecord
from moase_edge.runtime.method import Method
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.scheduler import Timing

_PEAK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_EVENTS = ("updated", "rolled_back", "failed")


@dataclass(frozen=True, slots=True)
class Measured:
    """What depends on the machine, kept apart from what must repeat.

    Attributes:
        ms_by_stage: mean milliseconds a frame.
        peak_memory_mib: highest resident memory of the process since `forget_peak_memory`, with model and frames
            that all methods share; None where the system does not tell.
        wall_s: seconds that the cell took, from building the method on; NaN where nobody looked.
    """

    ms_by_stage: dict[str, float]
    peak_memory_mib: float | None
    wall_s: float = math.nan

    @property
    def ms_per_frame(self) -> float:
        """Engine, sidecar and update together."""
        return sum(self.ms_by_stage.get(stage, 0.0) for stage in ("engine", "sidecar", "update"))


@dataclass(slots=True)
class _Collector:
    """Rows of a record, taken from results as they come."""

    counted: dict[str, int]
    rows: list[tuple[int, int, float, bool]] = field(default_factory=list)
    events: dict[str, list[bool]] = field(default_factory=lambda: {name: [] for name in _EVENTS})

    def add(self, result: Result) -> None:
        answer = NO_ANSWER if result.prediction is None else result.prediction
        frozen = NO_ANSWER if result.frozen_prediction is None else result.frozen_prediction
        confidence = float("nan") if result.confidence is None else result.confidence
        self.rows.append((answer, frozen, confidence, result.adapted))
        for marks in self.events.values():
            marks.append(False)

    def settle(self, counts: dict[str, int]) -> None:
        """Whatever was counted since the last frame counts as having happened after that frame."""
        if not self.rows:
            return
        for name, marks in self.events.items():
            if counts[name] > self.counted[name]:
                marks[-1] = True
        self.counted = counts


def run_cell(
    method: Method,
    frames: Sequence[LabelledImage],
    preprocessor: Preprocessor,
    schedule: Timing,
    *,
    batch_size: int,
    engine: RecordedEngine | None = None,
) -> tuple[CellRecord, Measured]:
    """Run one method over one stream.

    Args:
        frames: already fitted to the model's input; each seen once, in order.
        schedule: when the method learns.
        engine: what the method runs its frames through, if that is recorded: all its runs, those of an update too,
            are then measured as the engine's.

    Returns:
        The record, which repeats for the same arguments, and what was measured, which does not.

    Raises:
        EngineError: the engine failed.
    """
    pipeline = Pipeline(method, preprocessor, schedule)
    collector = _Collector(counted=_counts(pipeline))
    if engine is not None:
        engine.restart_clocks()
    with contextlib.closing(LabelledSource(frames, "benchmark")) as source:
        for result in pipeline.run(source, batch_size=batch_size):
            collector.settle(_counts(pipeline))
            collector.add(result)
    collector.settle(_counts(pipeline))
    totals = pipeline.record.profile.summaries()
    by_stage = {stage: summary.total_ms / len(frames) for stage, summary in totals.items()}
    if engine is not None:
        by_stage = engine.as_if_real(by_stage, len(frames))
    return _record(collector, frames), Measured(by_stage, peak_memory_mib())


def _counts(pipeline: Pipeline) -> dict[str, int]:
    method = pipeline.method
    counts = (pipeline.record.counts["updates"], method.rollbacks, sum(method.failures.values()))
    return dict(zip(_EVENTS, counts, strict=True))


def _record(collector: _Collector, frames: Sequence[LabelledImage]) -> CellRecord:
    answers, frozen, confidences, adapted = zip(*collector.rows, strict=True)
    domains = tuple(dict.fromkeys(frame.domain for frame in frames))
    has_frozen = any(answer != NO_ANSWER for answer in frozen)
    return CellRecord(
        prediction=np.array(answers, dtype=np.int64),
        frozen_prediction=np.array(frozen, dtype=np.int64) if has_frozen else None,
        confidence=np.array(confidences, dtype=np.float32),
        label=np.array([frame.label for frame in frames], dtype=np.int64),
        domain=np.array([domains.index(frame.domain) for frame in frames], dtype=np.int64),
        domains=domains,
        picture=np.array([frame.picture for frame in frames], dtype=np.int64),
        adapted=np.array(adapted, dtype=bool),
        **{name: np.array(marks, dtype=bool) for name, marks in collector.events.items()},
    )


def forget_peak_memory() -> None:
    """Give back what the cell before left behind, and let the system count the peak anew, where it can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # other C libraries have no such call
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        _PEAK.write_text("5", encoding="ascii")


def peak_memory_mib() -> float | None:
    """Highest resident memory since `forget_peak_memory`, in MiB."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None
