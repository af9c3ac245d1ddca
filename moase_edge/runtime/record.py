"""What a run remembers: latency, traces, errors and counts, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from moase_edge.frames.frame import Frame
from moase_edge.metrics.classification import ErrorCounter
from moase_edge.metrics.latency import LatencyProfile
from moase_edge.metrics.trace import Trace
from moase_edge.runtime.answers import AnswerCounter
from moase_edge.runtime.method import Update
from moase_edge.runtime.result import Result

STAGES = ("capture", "decode", "preprocess", "engine", "sidecar", "emit", "update", "total", "age")
_MAX_DOMAIN_MARKS = 200
_NO_CLASS = -1
SHOWN_ANSWERS = 10


class RunRecord:
    """Collects every batch of a run. Memory does not grow with its length.

    Attributes:
        profile: latency by stage; one entry a batch.
        latency_traces: milliseconds over frame index, by stage.
        adaptation_traces: entropy and the figures of each update over frame index.
        answers: how often each class was answered, and how sure.
        errors, frozen_errors: where frames are labelled, of the answer and of the frozen model; the latter over
            the frames alone for which its answer is known.
        domain_marks: frame index at which each domain began, and its name; the first 200.
        counts: frames, updates, updates put off for want of time, answers by origin, disagreements with the frozen
            model where its answer is known, frames for which it is not, and frames that got no answer, because no
            logit was finite.
    """

    def __init__(self) -> None:
        self.profile = LatencyProfile()
        self.latency_traces: dict[str, Trace] = {}
        self.adaptation_traces: dict[str, Trace] = {}
        self.answers = AnswerCounter()
        self.errors = ErrorCounter()
        self.frozen_errors = ErrorCounter()
        self.domain_marks: list[tuple[float, str]] = []
        self._domain: str | None = None
        self.counts: Counter[str] = Counter(
            frames=0,
            updates=0,
            updates_deferred=0,
            answered_frozen=0,
            answered_adapted=0,
            differs_from_frozen=0,
            frozen_unknown=0,
            unanswered=0,
        )

    def add_results(self, results: list[Result]) -> None:
        """Count the answers of one batch."""
        for result in results:
            self.counts["frames"] += 1
            self.counts["answered_adapted" if result.adapted else "answered_frozen"] += 1
            self.counts["unanswered"] += result.unanswered
            self.answers.add(result)
            if result.frozen_logits is None:
                self.counts["frozen_unknown"] += 1
            else:
                self.counts["differs_from_frozen"] += result.prediction != result.frozen_prediction
            self._add_labelled(result)
            self._trace(self.adaptation_traces, "entropy", result.frame.index, result.entropy)

    def _add_labelled(self, result: Result) -> None:
        frame = result.frame
        self._mark_domain(frame)
        # Features are no answer; where there should be one and is none, it is a wrong one.
        if frame.label is None or (result.prediction is None and not result.unanswered):
            return
        self.errors.add(prediction=_class_index(result.prediction), label=frame.label, domain=frame.domain)
        if result.frozen_logits is not None:
            frozen = _class_index(result.frozen_prediction)
            self.frozen_errors.add(prediction=frozen, label=frame.label, domain=frame.domain)

    def _mark_domain(self, frame: Frame) -> None:
        begins = frame.domain is not None and frame.domain != self._domain
        if begins and len(self.domain_marks) < _MAX_DOMAIN_MARKS:
            self.domain_marks.append((float(frame.index), str(frame.domain)))
        self._domain = frame.domain

    def add_update(self, index: int, update: Update) -> None:
        """Count an update made after frame `index`."""
        self.counts["updates"] += 1
        for name, value in update.items():
            self._trace(self.adaptation_traces, name, index, value)

    def add_timings(self, index: int, durations_ms: Mapping[str, float]) -> None:
        """Count the durations of one batch, whose last frame is `index`."""
        for stage in STAGES:
            if stage in durations_ms:
                self.profile.add(stage, durations_ms[stage])
                self._trace(self.latency_traces, stage, index, durations_ms[stage])

    @staticmethod
    def _trace(traces: dict[str, Trace], name: str, index: int, value: float | None) -> None:
        traces.setdefault(name, Trace()).add(index, value)

    def shares(self) -> dict[str, float]:
        """Part of the total time by stage; the age of a frame is no part of it."""
        return {stage: share for stage, share in self.profile.shares().items() if stage != "age"}

    def summary(self) -> dict[str, Any]:
        """Plain data for summary.json."""
        errors = {"answered": self.errors, "frozen": self.frozen_errors}
        return {
            "counts": dict(self.counts),
            "answered_classes": len(self.answers),
            "most_frequent_answers": [_plain(answer) for answer in self.answers.most_frequent(SHOWN_ANSWERS)],
            "error_percent": {
                name: {
                    "mean_over_domains": counter.mean_over_domains(),
                    "overall": counter.overall(),
                    "by_domain": counter.by_domain(),
                }
                for name, counter in errors.items()
                if counter.frames
            },
            "latency_ms": {stage: _plain(summary) for stage, summary in self.profile.summaries().items()},
            "share_of_total": self.shares(),
        }


def _class_index(prediction: int | None) -> int:
    return _NO_CLASS if prediction is None else prediction


def _plain(summary: Any) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in summary.__dataclass_fields__}
