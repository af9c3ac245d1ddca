"""Which classes a run answered, how often, and how sure."""

from __future__ import annotations

from dataclasses import dataclass

from moase_edge.runtime.result import Result


@dataclass(frozen=True, slots=True)
class AnsweredClass:
    """One class among the answers of a run.

    Attributes:
        index: of the class.
        label: its name, where the artifact names it.
        count: frames that were answered with it.
        share: of all answers, 0..1.
        mean_confidence: over its answers, 0..1; None where none of them had one.
    """

    index: int
    label: str | None
    count: int
    share: float
    mean_confidence: float | None

    @property
    def name(self) -> str:
        """The label, or the index in words."""
        return self.label or f"class {self.index}"


@dataclass(slots=True)
class _Tally:
    label: str | None
    count: int = 0
    sure: int = 0
    confidence: float = 0.0


class AnswerCounter:
    """Counts answers by class; memory grows with the classes that were answered, not with the frames."""

    def __init__(self) -> None:
        self._tallies: dict[int, _Tally] = {}
        self._answers = 0

    def __len__(self) -> int:
        """How many classes were answered at all."""
        return len(self._tallies)

    def add(self, result: Result) -> None:
        """Count one result, if it is an answer."""
        if result.prediction is None:
            return
        tally = self._tallies.setdefault(result.prediction, _Tally(result.label))
        self._answers += 1
        tally.count += 1
        if result.confidence is not None:
            tally.sure += 1
            tally.confidence += result.confidence

    def most_frequent(self, most: int) -> list[AnsweredClass]:
        """At most so many classes, the most frequent first, of equally frequent ones the lower index."""
        ranked = sorted(self._tallies.items(), key=lambda item: (-item[1].count, item[0]))
        return [
            AnsweredClass(
                index,
                tally.label,
                tally.count,
                tally.count / self._answers,
                tally.confidence / tally.sure if tally.sure else None,
            )
            for index, tally in ranked[:most]
        ]
