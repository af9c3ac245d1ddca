"""A learner whose updates run beside the answers: whoever answers sees complete teachers only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from moase_edge.adapt.augmented import Rerun
from moase_edge.adapt.lane import Lane, Ticket
from moase_edge.adapt.learner import DISTANCE_EVERY, Learner, TeacherDistance
from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.adapt.state import AdaptedState
from moase_edge.errors import AdaptationError
from moase_edge.moase.objectives import Views
from moase_edge.moase.step import StepReport
from moase_edge.moase.teacher import make_teacher


@dataclass(frozen=True, slots=True)
class _Done:
    report: StepReport
    updates: int
    distance: TeacherDistance | None


class PublishedLearner:
    """Learns on a lane, and swaps the teacher that answers for the new one when an update is over.

    There are two copies of the teacher besides the learner's own: one answers, the other is written to. An answer
    therefore never waits for an update and never sees half of one. Frames that come while an update is under way
    are answered, and not learned from.

    Args:
        learner: taken over; of a view that does not run the engine again, which only one thread may use.
        lane: where its updates run.

    Attributes:
        teacher: what answers.
        updates: steps that were published.
        skipped: batches that were not learned from, because an update was under way.
    """

    def __init__(self, learner: Learner, lane: Lane) -> None:
        self._learner, self._lane = learner, lane
        self.source, self.augments = learner.source, learner.augments
        self.teacher = make_teacher(learner.student)
        self._back = make_teacher(learner.student)
        self._ticket: Ticket[_Done] | None = None
        self._finished: _Done | None = None
        self._failure: Exception | None = None
        self._distance = self._measured()
        self.updates = learner.updates
        self.skipped = 0

    @torch.no_grad()
    def predict(self, taps: Taps) -> Views:
        """The answer of the newest complete teacher: logits (B, K), features (B, C), detached."""
        self._take_if_done()
        return cast(Views, self.teacher(taps))

    def learn(
        self, taps: Taps, teacher: Views, *, new: Tensor | None = None, rerun: Rerun | None = None
    ) -> StepReport | None:
        """Hand a batch over, unless an update is under way; what the last update came to, once.

        Args:
            taps: copied, because the engine writes its next answers where they lie.
            new: see `Learner.learn`.
            rerun: must be None.

        Raises:
            AdaptationError: the update before failed; nothing of it was published.
        """
        if rerun is not None:
            raise AdaptationError("updates beside the answers cannot run the engine. Take a view of the taps.")
        self._take_if_done()
        finished, self._finished = self._finished, None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if self._ticket is None:
            own = Taps(taps.mid.clone(), taps.out.clone())
            self._ticket = self._lane.submit(partial(self._update, own, teacher, new))
        else:
            self.skipped += 1
        return None if finished is None else finished.report

    def keep(self, taps: Taps, teacher: Views, new: Tensor | None = None) -> None:
        """Offer a batch to the reservoir; it is left out where an update, which reads that, is under way."""
        self._take_if_done()
        if self._ticket is None:
            self._learner.keep(Taps(taps.mid.clone(), taps.out.clone()), teacher, new)
        else:
            self.skipped += 1

    def distance(self) -> TeacherDistance:
        """As of the last update that measured it, the first of every ten, or of what was gone back to.

        Raises:
            AdaptationError: before the first update.
        """
        if self._distance is None:
            raise AdaptationError("no update is over yet, so no distance was measured. Ask after the first one.")
        return self._distance

    def snapshot(self) -> AdaptedState:
        """A copy of everything that was learned; waits for the update under way.

        Raises:
            AdaptationError: an update failed, and may have left the state half changed.
        """
        self._settle()
        if self._failure is not None:  # kept, so that learning hears of it too
            raise self._failure
        return self._learner.snapshot()

    def restore(self, state: AdaptedState) -> None:
        """Go back to a snapshot, bit for bit; waits for the update under way, which is lost."""
        self._settle()
        self._failure = None
        self._learner.restore(state)
        self._publish_now()

    def reset(self) -> None:
        """Go back to the source, bit for bit."""
        self._settle()
        self._failure = None
        self._learner.reset()
        self._publish_now()

    def close(self) -> None:
        """Wait for the update under way and end the lane."""
        self._lane.close()

    def _update(self, taps: Taps, teacher: Views, new: Tensor | None) -> _Done:
        """On the lane: a step, and the teacher that it made, written where nobody answers from."""
        report = self._learner.learn(taps, teacher, new=new)
        measured = self._learner.updates % DISTANCE_EVERY == 1
        distance = self._learner.distance() if measured else None
        self._write_back()
        return _Done(report, self._learner.updates, distance)

    @torch.no_grad()
    def _write_back(self) -> None:
        torch._foreach_copy_(self._trained_of(self._back), self._trained_of(self._learner.teacher))

    def _trained_of(self, sidecar: Sidecar) -> list[Tensor]:
        pairs = zip(sidecar.parameters(), self._learner.student.parameters(), strict=True)
        return [weight for weight, student in pairs if student.requires_grad]

    def _take_if_done(self) -> None:
        if self._ticket is not None and self._ticket.done():
            self._take(self._ticket)

    def _settle(self) -> None:
        if self._ticket is not None:
            self._take(self._ticket)

    def _take(self, ticket: Ticket[_Done]) -> None:
        self._ticket = None
        try:
            self._finished = ticket.result()
        except Exception as exc:  # raised where learning is asked for, which handles whatever it is
            self._failure = exc
            return
        self.updates, self._distance = self._finished.updates, self._finished.distance or self._distance
        self._swap()

    def _swap(self) -> None:
        self.teacher, self._back = self._back, self.teacher

    def _measured(self) -> TeacherDistance | None:
        """Now; only while no update is under way."""
        return self._learner.distance() if self._learner.updates else None

    def _publish_now(self) -> None:
        self._finished, self.updates, self._distance = None, self._learner.updates, self._measured()
        self._write_back()
        self._swap()
