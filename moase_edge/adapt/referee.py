"""The referee: what follows from the guard's alarms. Pure logic; the caller acts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, Literal, NamedTuple, TypeVar

S = TypeVar("S")

Standing = Literal["trusted", "probation", "frozen"]


class Action(Enum):
    """What the caller does next.

    After all but KEEP the guard is reset, since the answers it holds are no longer those of the weights.

    Attributes:
        KEEP: nothing.
        ROLL_BACK: restore the last good snapshot.
        GO_FROZEN: back to the source state; answer frozen, do not learn.
        RETRY: answer adapted and learn again, from the source state.
    """

    KEEP = "keep"
    ROLL_BACK = "roll back"
    GO_FROZEN = "go frozen"
    RETRY = "retry"


class Decision(NamedTuple):
    """An action, and whether to take a snapshot of the learned state now (never together with another action)."""

    action: Action
    take_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class RefereeState:
    """All that a referee remembers.

    Attributes:
        standing: of the adapted model.
        frames: since the standing began.
        since_snapshot: frames since the latest snapshot, or since the state went back to an earlier one.
        hold_off: frames that the next freeze lasts, or the present one.
        counts: of events, by name.
    """

    standing: Standing
    frames: int
    since_snapshot: int
    hold_off: int
    counts: tuple[tuple[str, int], ...] = ()


_EVENTS = ("rollbacks", "freezes", "retries", "snapshots", "frames_frozen")


class Referee:
    """Decides when adapted answers are trusted. All frames are frames with new content.

        trusted:    an alarm rolls back, and begins probation
        probation:  an alarm sets back to the source, and freezes; `probation` frames without one regain trust
        frozen:     after the hold-off it is tried again from the source, on probation

    Each freeze lasts twice as long as the one before, up to `max_hold_off`. Trust regained halves the next one,
    down to `hold_off`, so that a bad night does not cost the day after it.

    Args:
        proven, probation, hold_off, max_hold_off: see `RefereeSettings`.
    """

    _state: RefereeState

    def __init__(
        self, *, proven: int = 64, probation: int = 128, hold_off: int = 128, max_hold_off: int = 4096
    ) -> None:
        self._proven = proven
        self._probation = probation
        self._first_hold_off = hold_off
        self._max_hold_off = max_hold_off
        self.reset()

    @property
    def standing(self) -> Standing:
        """Where the adapted model stands."""
        return self._state.standing

    @property
    def answers_adapted(self) -> bool:
        """Whether the adapted model answers and learns; where not, the frozen one answers."""
        return self._state.standing != "frozen"

    def step(self, alarm: str | None, *, frames: int = 1) -> Decision:
        """Judge one answered batch.

        Args:
            alarm: what the guard says; counted by the words before its colon. Passed over while frozen.
            frames: with new content in the batch; 0 moves no clock, but an alarm is heeded.
        """
        state = self._state
        self._state = replace(state, frames=state.frames + frames, since_snapshot=state.since_snapshot + frames)
        if state.standing == "frozen":
            return self._wait(frames)
        if alarm is not None:
            self._count(f"alarm: {alarm.split(':')[0]}")
            return self._roll_back() if state.standing == "trusted" else self._go_frozen()
        if state.standing == "probation" and self._state.frames >= self._probation:
            self._enter("trusted", max(state.hold_off // 2, self._first_hold_off))
        return self._keep()

    def counts(self) -> dict[str, int]:
        """How often each thing was done, and each alarm raised, since the start."""
        return {**dict.fromkeys(_EVENTS, 0), **dict(self._state.counts)}

    def snapshot(self) -> RefereeState:
        """All that was decided so far."""
        return self._state

    def restore(self, state: RefereeState) -> None:
        """Go back to a snapshot."""
        self._state = state

    def reset(self) -> None:
        """Trust the adapted model, which must be at its source state, and forget all counts."""
        self._state = RefereeState("trusted", frames=0, since_snapshot=0, hold_off=self._first_hold_off)

    def _wait(self, frames: int) -> Decision:
        self._count("frames_frozen", frames)
        if self._state.frames < self._state.hold_off:
            return Decision(Action.KEEP)
        self._count("retries")
        self._enter("probation", min(2 * self._state.hold_off, self._max_hold_off))
        self._state = replace(self._state, since_snapshot=0)
        return Decision(Action.RETRY)

    def _roll_back(self) -> Decision:
        self._count("rollbacks")
        self._enter("probation")
        self._state = replace(self._state, since_snapshot=0)
        return Decision(Action.ROLL_BACK)

    def _go_frozen(self) -> Decision:
        self._count("freezes")
        self._enter("frozen")
        return Decision(Action.GO_FROZEN)

    def _keep(self) -> Decision:
        """The latest snapshot has led to no alarm for long enough: it is good, and the next one is taken."""
        if self._state.since_snapshot < self._proven:
            return Decision(Action.KEEP)
        self._count("snapshots")
        self._state = replace(self._state, since_snapshot=0)
        return Decision(Action.KEEP, take_snapshot=True)

    def _enter(self, standing: Standing, hold_off: int | None = None) -> None:
        hold_off = self._state.hold_off if hold_off is None else hold_off
        self._state = replace(self._state, standing=standing, frames=0, hold_off=hold_off)

    def _count(self, event: str, by: int = 1) -> None:
        counts = Counter(dict(self._state.counts))
        counts[event] += by
        self._state = replace(self._state, counts=tuple(counts.items()))


class LastGood(Generic[S]):
    """The last good snapshot, and the latest, which has yet to prove itself.

    Args:
        source: what to roll back to before any snapshot has proved itself.
    """

    def __init__(self, source: S) -> None:
        self._source = self._good = self._latest = source

    def take(self, state: S) -> None:
        """Keep a new snapshot, which the referee asks for once the one before has proved itself."""
        self._good, self._latest = self._latest, state

    def rolled_back(self) -> S:
        """The last good snapshot; the unproven one is dropped."""
        self._latest = self._good
        return self._good

    def back_to_source(self) -> S:
        """The source state; all snapshots are dropped."""
        self._good = self._latest = self._source
        return self._source

    def held(self) -> tuple[S | None, S | None]:
        """The last good snapshot and the latest; None for the source state."""
        good, latest = (None if kept is self._source else kept for kept in (self._good, self._latest))
        return good, latest

    def hold(self, good: S | None, latest: S | None) -> None:
        """Take both back, as `held` gave them."""
        self._good, self._latest = (self._source if kept is None else kept for kept in (good, latest))
