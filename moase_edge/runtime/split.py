"""The split model as a method: a frozen engine, and what adapts beside it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.adapt.adaptation import Adaptation, Answer, finite_rows
from moase_edge.adapt.augmented import Rerun
from moase_edge.adapt.sidecar import Taps
from moase_edge.adapt.state import LearnedState
from moase_edge.engines.base import DeviceEngine, Engine, Tensors
from moase_edge.runtime.device_clock import DeviceClock
from moase_edge.runtime.device_taps import TAPS, DeviceTaps
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages
from moase_edge.runtime.streams import Answering
from moase_edge.runtime.tracked_run import Runs, TrackedRun, run_tracked

logger = logging.getLogger(__name__)

_NON_FINITE = "non-finite answer"


@dataclass(frozen=True, slots=True, eq=False)
class _Answered:
    images: NDArray[np.float32]
    run: TrackedRun
    answer: Answer


class _AnsweredFrozen:
    """What a batch is remembered by that was answered while adapted answers are not trusted."""


@dataclass(frozen=True, slots=True, eq=False)
class _Refused:
    logits: NDArray[np.float32]


class SplitMethod:
    """Engine and adaptation.

    An adaptation that fails never stops the answers: from then on the frozen model answers, and it is counted. An
    adapted answer that is not finite is replaced by the frozen one, for that frame alone, and not learned from.

    Args:
        engine: returns `mid`, `out` and `logits`, and `token_means` where it can be steered.
        adaptation: whose sidecar fits the engine's taps, and lives on the engine's device if it has one.
        answering: on which stream answers are computed.
    """

    def __init__(self, engine: Engine, adaptation: Adaptation, *, answering: Answering = nullcontext) -> None:
        self._engine, self._answering = engine, answering
        on_device = isinstance(engine, DeviceEngine) and adaptation.device == torch.device(engine.device)
        clock = DeviceClock(torch.cuda) if on_device and adaptation.device.type == "cuda" else None
        self._tapped: Runs = DeviceTaps(engine, clock) if on_device else engine  # type: ignore[arg-type]
        self._adaptation = adaptation
        self._failed = False
        self._waited = 0  # frames with new content, answered frozen, of which the adaptation was not told yet
        self.name = "split"
        self.failures: dict[str, int] = Counter()

    @property
    def rollbacks(self) -> int:
        """How often what was learned was set back."""
        return self._adaptation.rollbacks

    def counts(self) -> dict[str, int]:
        """What the tracker found and the guard did, for reports."""
        return self._adaptation.counts()

    def start_run(self) -> None:
        """Begin another stream with what was learned; what failed in the one before is tried again."""
        self._failed = False
        self._adaptation.start_run()

    def state(self) -> LearnedState | None:
        """A copy of all that was learned; None once something failed, which may have left it half changed."""
        return None if self._failed else replace(self._adaptation.state(), waited=self._waited)

    def load(self, state: object) -> None:
        """Go back to a state; what failed before is tried again.

        Raises:
            AdaptationError: it does not fit.
        """
        learned = cast(LearnedState, state)
        self._adaptation.load(learned)
        self._failed, self._waited = False, learned.waited

    def reset(self) -> None:
        """Go back to the source state; what failed before is tried again."""
        self._adaptation.reset()
        self._failed, self._waited = False, 0

    def hold(self, held: bool) -> None:
        """Whether each frame is answered on its own."""
        self._adaptation.hold(held)

    def figures(self) -> dict[str, Any]:
        """Every domain that was found, and how far weights are from the source."""
        return self._adaptation.figures()

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """(B, 3, H, W) -> the adapted answer, or the frozen one.

        Raises:
            EngineError: the engine failed; without it there is no answer at all.
        """
        with self._answering():
            prediction = self._predict(images, stages)
        worked_ms = self._tapped.worked_ms() if isinstance(self._tapped, DeviceTaps) else None
        if worked_ms is not None:
            stages.add_device("engine", worked_ms)
        return prediction

    def _predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        if self._failed or not self._adaptation.adapts:
            return self._frozen(images, stages)
        if not self._adaptation.trusted:
            return self._not_trusted(images, stages)
        try:
            with stages.timed("engine"):
                run = self._run(images)
        except Exception as exc:  # perhaps of the steered or second run alone: the plain one decides
            answer = self._frozen(images, stages)
            self._go_frozen("tracked run", exc)
            return answer
        broken = _broken_rows(run.outputs)
        if broken.any():
            return self._overflowed(run, broken, images, stages)
        try:
            with stages.timed("sidecar"):
                return self._adapted(run, images, stages)
        except Exception as exc:  # whatever it is, the frozen answer stands
            self._go_frozen("sidecar", exc)
            return self._frozen_after(run, images, stages)

    def _not_trusted(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """The frozen answer; what it shows that is new counts toward the end of the hold-off."""
        try:
            with stages.timed("engine"):
                run = self._run(images)
            with stages.timed("sidecar"):
                if not _broken_rows(run.outputs).any():
                    self._waited += self._adaptation.contents(self._taps(run.outputs), run.keys, run.found)
        except Exception as exc:  # perhaps of what looks at the run alone: the plain one decides
            answer = self._frozen(images, stages)
            self._go_frozen("tracked run", exc)
            return answer
        return replace(self._frozen_after(run, images, stages), memory=_AnsweredFrozen())

    def _overflowed(
        self, run: TrackedRun, broken: NDArray[np.bool_], images: NDArray[np.float32], stages: Stages
    ) -> Prediction:
        """The frozen answer to a batch with taps that no adapter takes; the guard hears of their rows (B,)."""
        self._count_non_finite(int(broken.sum()))
        answer = self._frozen_after(run, images, stages)
        unknown = np.where(broken[:, None], np.float32(np.nan), answer.logits)
        return replace(answer, memory=_Refused(unknown))

    def _run(self, images: NDArray[np.float32]) -> TrackedRun:
        tracker = self._adaptation.tracker
        if tracker is None:
            return TrackedRun(dict(self._tapped.run(images)), np.zeros(len(images), dtype=bool))
        return run_tracked(self._tapped, tracker, images)

    def _adapted(self, run: TrackedRun, images: NDArray[np.float32], stages: Stages) -> Prediction:
        answer = self._adaptation.answer(self._taps(run.outputs), run.steered, run.keys, run.found)
        logits, finite = answer.logits, finite_rows(answer.logits)
        memory = _Answered(images, run, answer)
        if finite.all():
            return Prediction(logits, run.frozen_logits, finite, memory)
        self._count_non_finite(int((~finite).sum()))
        frozen = self._frozen_after(run, images, stages).logits
        return Prediction(np.where(finite[:, None], logits, frozen), frozen, finite, _Refused(logits))

    def _frozen_after(self, run: TrackedRun, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """The frozen answer to a batch that was run: at hand, unless it was steered."""
        if run.steered.any():
            return self._frozen(images, stages)
        logits: NDArray[np.float32] = run.outputs["logits"]
        return Prediction(logits, logits, np.zeros(len(images), dtype=bool))

    def _frozen(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        with stages.timed("engine"):
            logits = self._engine.run(images)["logits"]
        return Prediction(logits, logits, np.zeros(len(images), dtype=bool))

    def learn(self, prediction: Prediction) -> Update | None:
        """Learn from the batch that was answered last; None where there was nothing to learn, or it failed."""
        return self._learn_by(prediction, self._learn)

    def defer(self, prediction: Prediction) -> None:
        """Count what was seen in the batch that was answered last; no engine run, no gradient."""
        self._learn_by(prediction, self._defer)

    def _learn_by(self, prediction: Prediction, learn: Callable[[_Answered], Update | None]) -> Update | None:
        if self._failed:
            return None
        with self._answering():
            return self._learn_or_fail(prediction, learn)

    def _learn_or_fail(self, prediction: Prediction, learn: Callable[[_Answered], Update | None]) -> Update | None:
        try:
            if isinstance(prediction.memory, _AnsweredFrozen):
                waited, self._waited = self._waited, 0
                self._adaptation.wait(waited)
                return None
            if isinstance(prediction.memory, _Refused) and prediction.frozen_logits is not None:
                self._adaptation.refuse(prediction.memory.logits, prediction.frozen_logits)
                return None
            return learn(prediction.memory) if isinstance(prediction.memory, _Answered) else None
        except Exception as exc:  # whatever it is, the answers go on
            self._go_frozen("learner", exc)
            return None

    def _defer(self, batch: _Answered) -> None:
        self._adaptation.defer(batch.answer, frozen_logits=batch.run.frozen_logits)

    def _learn(self, batch: _Answered) -> Update | None:
        def run_again(rows: NDArray[np.int64], shift: NDArray[np.float32] | None) -> Tensors:
            images = batch.images[rows]
            return self._engine.run(images) if shift is None else self._engine.run(images, shift)

        def taps_of(frames: NDArray[np.float32]) -> Taps:
            return self._taps(self._engine.run(frames))

        return self._adaptation.learn(
            batch.answer,
            frozen_logits=batch.run.frozen_logits,
            run_again=run_again,
            rerun=Rerun(batch.images, taps_of),
        )

    def _count_non_finite(self, frames: int) -> None:
        if not self.failures[_NON_FINITE]:
            logger.warning("an adapted answer is not finite; the frozen one is given. Further ones are counted.")
        self.failures[_NON_FINITE] += frames

    def _go_frozen(self, part: str, exc: Exception) -> None:
        self._failed = True
        self.failures[f"{part}: {type(exc).__name__}"] += 1
        logger.warning("the %s failed; the run goes on with the frozen model: %s", part, exc)

    def close(self) -> None:
        """End the updates and release the engine."""
        self._adaptation.close()
        self._engine.close()

    def _taps(self, outputs: Mapping[str, Any]) -> Taps:
        """On the sidecar's device: nothing is copied where they are there already."""
        return Taps(*(torch.as_tensor(outputs[name], device=self._adaptation.device) for name in TAPS))


def _broken_rows(outputs: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(B,) rows with taps that are not finite, which no adapter takes."""
    broken: NDArray[np.bool_] = ~np.all([_finite(outputs[name]) for name in TAPS], axis=0)
    return broken


def _finite(tap: Any) -> NDArray[np.bool_]:
    """(B, P, C) -> (B,): rows without NaN and infinity; of a tensor on a device only these come to the host."""
    if isinstance(tap, torch.Tensor):
        finite: NDArray[np.bool_] = torch.isfinite(tap).flatten(1).all(dim=1).cpu().numpy()
        return finite
    return finite_rows(tap.reshape(len(tap), -1))
