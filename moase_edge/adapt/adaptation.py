"""Everything that adapts beside an engine, as one thing: sidecar or learner, tracker, and the watch over both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.adapt.augmented import Rerun
from moase_edge.adapt.domain import Recognition
from moase_edge.adapt.drift import DriftDetector
from moase_edge.adapt.guard import Guard
from moase_edge.adapt.held import HeldSidecar
from moase_edge.adapt.learner import DISTANCE_EVERY, Learner
from moase_edge.adapt.published import PublishedLearner
from moase_edge.adapt.referee import Referee
from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.adapt.state import LearnedState, LiveState
from moase_edge.adapt.tracker import Seen, Tracker
from moase_edge.adapt.watch import Watch
from moase_edge.errors import AdaptationError
from moase_edge.moase.objectives import Views

# Outputs by name of rows of a batch that are run again, with a shift (n, L, C) or none.
RunAgain = Callable[[NDArray[np.int64], "NDArray[np.float32] | None"], Mapping[str, NDArray[np.float32]]]


def finite_rows(logits: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(B, K) -> (B,): rows without NaN and infinity."""
    finite: NDArray[np.bool_] = np.isfinite(logits).all(axis=1)
    return finite


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """An adapted answer, and what can be learned from it.

    Attributes:
        logits: (B, K) float32.
        taps, views: of the teacher, before any correction.
        seen: what the tracker made of it; None without one.
    """

    logits: NDArray[np.float32]
    taps: Taps
    views: Views
    seen: Seen | None

    @property
    def new(self) -> NDArray[np.bool_]:
        """(B,) rows with new content; all of them where nobody looked."""
        return np.ones(len(self.logits), dtype=bool) if self.seen is None else self.seen.new


class Adaptation:
    """Answers from the sidecar, corrected by the tracker; learns; is watched.

    The tracker decides on the CPU, wherever the sidecar lives.

    Args:
        sidecar: a learner, one whose updates run beside the answers, or a sidecar whose weights stay.
        tracker: None corrects nothing.
        guard, referee: in their first state.
        on_shift: whether weights learn only while the domain is new; told by the tracker where the engine returns
            token means, by `drift` elsewhere.
        drift: in its first state.
        has_classes: whether answers are logits of two classes or more, which the guard can compare.
        device: where the sidecar lives; by default the CPU.
    """

    def __init__(
        self,
        sidecar: Learner | PublishedLearner | HeldSidecar,
        *,
        tracker: Tracker | None = None,
        guard: Guard | None = None,
        referee: Referee | None = None,
        on_shift: bool = False,
        drift: DriftDetector | None = None,
        has_classes: bool = True,
        device: torch.device | None = None,
    ) -> None:
        self._sidecar = sidecar
        self.device = device or torch.device("cpu")
        self._learner = None if isinstance(sidecar, HeldSidecar) else sidecar
        self.tracker = tracker
        self._on_shift, self._drift = on_shift, drift or DriftDetector()
        self._has_classes, self._compared = has_classes, 0
        self._watch = Watch(guard or Guard(), referee or Referee(), self.snapshot, self._set_back)

    @property
    def adapts(self) -> bool:
        """Whether there is anything that could make an answer another one than the frozen model's."""
        return self._learner is not None or self.tracker is not None

    @property
    def sidecar(self) -> Sidecar:
        """What answers, as it is now."""
        return self._sidecar.teacher

    @property
    def trusted(self) -> bool:
        """Whether adapted answers are given; where not, the frozen model answers."""
        return self._watch.trusts

    @property
    def rollbacks(self) -> int:
        """How often what was learned was set back."""
        return self._watch.rollbacks

    @torch.no_grad()
    def answer(
        self,
        taps: Taps,
        steered: NDArray[np.bool_],
        keys: NDArray[np.float64] | None = None,
        found: Recognition | None = None,
    ) -> Answer:
        """Answer a batch: taps (B, P, C).

        Args:
            steered: (B,) rows whose tokens the engine moved.
            keys, found: what the tracker recognised by token means; None looks at the features instead.
        """
        views = self._sidecar.predict(taps)
        if self.tracker is None or views.pooled is None:
            return Answer(views.logits.cpu().numpy(), taps, views, None)
        pooled = views.pooled.cpu().numpy()
        if keys is None or found is None:
            keys, found = self.tracker.recognise(pooled.mean(axis=1, dtype=np.float64))
        corrected, seen = self.tracker.correct(pooled, keys, found, steered)
        inputs = torch.from_numpy(corrected.astype(np.float32)).to(self.device)
        return Answer(self._sidecar.teacher.classify(inputs).logits.cpu().numpy(), taps, views, seen)

    def learn(
        self, answer: Answer, *, frozen_logits: NDArray[np.float32], run_again: RunAgain, rerun: Rerun
    ) -> dict[str, float] | None:
        """Learn from a batch that was answered; the guard compares it with the frozen answer.

        Args:
            frozen_logits: (B, K), NaN in rows for which the frozen model was not asked.
            run_again: runs rows of the batch through the engine.
            rerun: the batch's frames, for a learner that augments them.

        Returns:
            Figures for the journal; None where there was nothing new to learn from.

        Raises:
            AdaptationError: a step was not finite; no weight was changed by it.
        """
        figures: dict[str, float] = {}
        if self.tracker is not None and answer.seen is not None and answer.new.any():
            figures |= self.tracker.learn(answer.seen, partial(self._again, answer, run_again))
        distance = None
        if self._learner is not None and (not self._on_shift or self._shifting(self._learner, answer)):
            figures |= self._step(self._learner, answer, rerun)
            distance = figures.get("teacher_source_distance")
        self._judge(answer, frozen_logits, distance=distance)
        return figures or None

    def defer(self, answer: Answer, *, frozen_logits: NDArray[np.float32]) -> None:
        """Put a step and trials off for want of time; count what was seen, which costs next to nothing.

        Frames are kept for a later step where there is a reservoir.
        """
        if self.tracker is not None and answer.seen is not None and answer.new.any():
            self.tracker.count(answer.seen)
        if self._learner is not None:
            self._learner.keep(answer.taps, answer.views, torch.from_numpy(answer.new))
        self._judge(answer, frozen_logits)

    def _judge(self, answer: Answer, frozen_logits: NDArray[np.float32], *, distance: float | None = None) -> None:
        known = np.flatnonzero(finite_rows(frozen_logits))
        self._compare(answer, known, frozen_logits[known], distance=distance)
        # Only what was compared proves anything: of steered frames that is the trials.
        self._watch.judge(self._compared)
        self._compared = 0

    def start_run(self) -> None:
        """Begin another stream: what was learned stays, what belongs to the frames before is forgotten."""
        if self.tracker is not None:
            self.tracker.start_run()

    def contents(
        self,
        taps: Taps,
        keys: NDArray[np.float64] | None = None,
        found: Recognition | None = None,
    ) -> int:
        """How many rows of a batch that the frozen model answers have new content; all of them without a tracker.

        Args:
            taps, keys, found: see `answer`.
        """
        if self.tracker is None:
            return len(taps.mid)
        seen = self.answer(taps, np.zeros(len(taps.mid), dtype=bool), keys, found).seen
        return len(taps.mid) if seen is None else self.tracker.pass_over(seen)

    def wait(self, frames: int) -> None:
        """Let frames with new content pass that the frozen model answered."""
        self._watch.judge(frames)

    def counts(self) -> dict[str, int]:
        """What was found and done, for reports."""
        tracked = {} if self.tracker is None else self.tracker.counts()
        beside = self._sidecar if isinstance(self._sidecar, PublishedLearner) else None
        return {
            **tracked,
            **self._watch.counts(),
            **({} if beside is None else {"updates_skipped": beside.skipped}),
        }

    def close(self) -> None:
        """End updates that run beside the answers."""
        if isinstance(self._sidecar, PublishedLearner):
            self._sidecar.close()

    def snapshot(self) -> LiveState:
        """A copy of all that was learned."""
        return LiveState(
            learner=None if self._learner is None else self._learner.snapshot(),
            tracker=None if self.tracker is None else self.tracker.snapshot(),
        )

    def restore(self, state: LiveState) -> None:
        """Go back to a snapshot, bit for bit."""
        if self._learner is not None and state.learner is not None:
            self._learner.restore(state.learner)
        if self.tracker is not None and state.tracker is not None:
            self.tracker.restore(state.tracker)

    def _set_back(self, state: LiveState) -> None:
        # The frames that a snapshot had at hand are long gone.
        self.restore(state)
        self.start_run()

    def state(self) -> LearnedState:
        """A copy of everything, the watch and its snapshots included."""
        return LearnedState(self.snapshot(), self._drift.snapshot(), self._watch.state(), self._compared)

    def load(self, state: LearnedState) -> None:
        """Go back to a state, bit for bit.

        Raises:
            AdaptationError: it does not fit; everything is then at its source state.
        """
        if (state.live.learner is None) != (self._learner is None) or (
            (state.live.tracker is None) != (self.tracker is None)
        ):
            raise AdaptationError("the state is of other parts than adapt here: weights, or a tracker.")
        try:
            self.restore(state.live)
            self._drift.restore(state.drift)
            self._watch.load(state.watch)
            self._compared = state.compared
        except Exception as exc:  # shapes that do not fit raise errors of many kinds
            self.reset()
            raise AdaptationError(f"the state does not fit what adapts here: {exc}") from exc

    def reset(self) -> None:
        """Go back to the source state, bit for bit, as if nothing had been seen."""
        for part in (self._learner, self.tracker, self._drift, self._watch):
            if part is not None:
                part.reset()
        self._compared = 0

    def hold(self, held: bool) -> None:
        """Whether each frame is answered on its own, as long as nothing is learned."""
        if self.tracker is not None:
            self.tracker.held = held

    def figures(self) -> dict[str, Any]:
        """What was found, for people: every domain, and how far weights are from the source."""
        figures: dict[str, Any] = {} if self.tracker is None else {"domains": self.tracker.figures()}
        if self._learner is not None and self._learner.updates:
            figures["teacher_source_distance"] = self._learner.distance().teacher_source
        return figures | {"trusted": self.trusted, "latest_alarm": self._watch.why}

    def refuse(self, logits: NDArray[np.float32], frozen_logits: NDArray[np.float32]) -> None:
        """Have the guard see answers (B, K) that cannot be given, because some are not finite."""
        if self._has_classes:
            self._watch.observe(logits, frozen_logits, np.ones(len(logits), dtype=bool))
            self._watch.judge(0)

    @torch.no_grad()
    def _again(
        self,
        answer: Answer,
        run_again: RunAgain,
        rows: NDArray[np.int64],
        shift: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        outputs = run_again(rows, shift)
        if shift is None:  # the frozen answer to frames that were steered
            self._compare(answer, rows, outputs["logits"])
        mid, out = (torch.from_numpy(outputs[name]).to(self.device) for name in ("mid", "out"))
        sound = torch.isfinite(mid).flatten(1).all(dim=1) & torch.isfinite(out).flatten(1).all(dim=1)
        # An adapter takes no others; the tracker passes over rows that are not finite.
        pooled = self._sidecar.predict(Taps(mid.nan_to_num(0, 0, 0), out.nan_to_num(0, 0, 0))).pooled
        if pooled is None:
            raise AdaptationError("the sidecar tells nothing of what its head reads. Report this as a fault.")
        return torch.where(sound[:, None, None], pooled, torch.nan).cpu().numpy()

    def _compare(
        self,
        answer: Answer,
        rows: NDArray[np.int64],
        frozen: NDArray[np.float32],
        *,
        distance: float | None = None,
    ) -> None:
        if distance is not None:
            self._watch.tell_distance(distance)
        if self._has_classes:
            self._watch.observe(answer.logits[rows], frozen, answer.new[rows])
            self._compared += int(answer.new[rows].sum())

    def _shifting(self, learner: Learner | PublishedLearner, answer: Answer) -> bool:
        if self.tracker is not None and self.tracker.block is not None:
            return self.tracker.shifting
        features = self._source_features(learner, answer.taps)[answer.new]
        shifted = [self._drift.update(row).shifted for row in features]
        return any(shifted)

    @torch.no_grad()
    def _source_features(self, learner: Learner | PublishedLearner, taps: Taps) -> NDArray[np.float64]:
        """(B, C) of the frozen model: those of learned weights would move with what is learned."""
        return cast(Views, learner.source(taps)).features.cpu().numpy().astype(np.float64)

    def _step(self, learner: Learner | PublishedLearner, answer: Answer, rerun: Rerun) -> dict[str, float]:
        report = learner.learn(
            answer.taps,
            answer.views,
            new=torch.from_numpy(answer.new),
            rerun=rerun if learner.augments else None,
        )
        if report is None:  # no update beside the answers is over since the last one
            return {}
        figures = {"loss": report.loss, "proximal": report.proximal, "grad_norm": report.grad_norm}
        if learner.updates % DISTANCE_EVERY == 1:
            distance = learner.distance()
            figures["student_teacher_distance"] = distance.student_teacher
            figures["teacher_source_distance"] = distance.teacher_source
        return figures
