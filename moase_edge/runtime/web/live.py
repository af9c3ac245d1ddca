"""What a run hands to those who watch it: the newest result, and figures of every batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from moase_edge.frames.source import Source
from moase_edge.runtime.method import Update
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.stages import Stages

_MOST_TOLD = 2000  # batches, for which nobody came: the server is gone


class Moment(NamedTuple):
    """One batch, of whose frames the last one is told of.

    Attributes:
        frame: its index in the source; the other fields as in `Result`.
        timings_ms: by stage, the update included.
        update: what learning from the batch gave; None where nothing was learned.
    """

    frame: int
    timestamp_s: float
    age_ms: float
    prediction: int | None
    label: str | None
    confidence: float | None
    entropy: float | None
    frozen_prediction: int | None
    adapted: bool
    timings_ms: Mapping[str, float]
    update: Update | None


class Counts(NamedTuple):
    """What was counted up to a batch, from the start of the run.

    Attributes:
        frames: of the record: frames, updates, origins of the answers.
        events: what the method found and did.
        failures: of the method, by reason.
    """

    frames: Mapping[str, int]
    events: Mapping[str, int]
    failures: Mapping[str, int]


class Live:
    """The seam between the loop, which writes, and one watching thread, which reads.

    Nothing here waits: the loop stores references and appends to a deque, each of which is one step of the
    interpreter, so that no lock is needed and no watcher can hold up an answer. Frames are not copied.

    Args:
        pipeline: that runs.
        source: that it reads.

    Attributes:
        newest: the latest result and the moment of `time.monotonic` it came; None before the first.
        counts: as of the latest batch.
        ended: why the run ended; None while it lasts.
    """

    def __init__(self, pipeline: Pipeline, source: Source) -> None:
        self.pipeline, self.source = pipeline, source
        self.newest: tuple[Result, float] | None = None
        self.counts = Counts(dict(pipeline.record.counts), {}, {})
        self.ended: str | None = None
        self._told: deque[Moment] = deque(maxlen=_MOST_TOLD)

    @property
    def trouble(self) -> str | None:
        """Why no frame comes at the moment; None while frames come."""
        # A source of the user's own need not know the word.
        return getattr(self.source, "trouble", None)

    def answered(self, result: Result) -> None:
        """The loop: a frame was answered."""
        self.newest = (result, monotonic())

    def learned(self, results: Sequence[Result], stages: Stages, update: Update | None) -> None:
        """The loop: a batch is done with."""
        last, run = results[-1], self.pipeline
        self.counts = Counts(dict(run.record.counts), run.counted.events, run.counted.failures)
        self._told.append(
            Moment(
                last.frame.index,
                last.timestamp_s,
                last.age_ms,
                last.prediction,
                last.label,
                last.confidence,
                last.entropy,
                last.frozen_prediction,
                last.adapted,
                stages.durations_ms,
                update,
            )
        )

    def take(self) -> list[Moment]:
        """The watcher: what came since it was asked last."""
        taken = []
        while self._told:
            taken.append(self._told.popleft())
        return taken
