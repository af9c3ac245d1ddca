"""Buttons for a run that goes on: asked for from any thread, done between two frames."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.frames.source import Source
from moase_edge.runtime.method import Method, Stateful
from moase_edge.runtime.snapshots import Position, Snapshots

Done = Future[str]
_Action = Callable[[Position], "str | Future[Path]"]
_Request = tuple[Done, _Action]


class Controls:
    """Hold, resume, reset, roll back, snapshot.

    Each returns at once with a future. Its result is a sentence of what was done; it raises a MoaseEdgeError where
    that could not be done, and is cancelled where the run ends first. It may be cancelled as long as it waits.

    Args:
        method: what answers and learns.

    Attributes:
        held: whether nothing is learned for now.
        snapshots: where rollbacks go to; None where none are kept.
    """

    def __init__(self, method: Method) -> None:
        self._method = method
        self._asked: SimpleQueue[_Request] = SimpleQueue()
        self.held = False
        self.snapshots: Snapshots | None = None

    def hold(self) -> Done:
        """Answer adapted, each frame on its own, and learn nothing, as `--adapt hold` does."""
        return self._ask(lambda _: self._hold(True))

    def resume(self) -> Done:
        """Learn again."""
        return self._ask(lambda _: self._hold(False))

    def reset(self) -> Done:
        """Forget all that was learned; snapshots stay."""
        return self._ask(self._reset)

    def rollback(self, name: str | None = None) -> Done:
        """Go back to the newest snapshot; asked again before anything more is learned, to the one before it.

        Args:
            name: file name or number of a certain one.
        """
        return self._ask(lambda _: f"back to {self._kept().roll_back(name)}")

    def snapshot(self) -> Done:
        """Copy the state and write it, beside the answers."""
        return self._ask(lambda position: self._kept().take(position))

    def between(self, position: Position, answered: int = 0) -> None:
        """Do what was asked for; called by the loop between two batches.

        Args:
            position: where the run stands.
            answered: frames of the batch before.
        """
        if self.snapshots is not None:
            self.snapshots.answered(answered, held=self.held)
        while True:
            try:
                done, action = self._asked.get_nowait()
            except Empty:
                break
            if done.set_running_or_notify_cancel():
                _settle(done, action, position)
        if self.snapshots is not None and not self.held:
            self.snapshots.between(position)

    def begin(self, snapshots: Snapshots | None, source: Source, start: Position | None) -> None:
        """A run over this source begins at this place in it, and keeps its state there; None keeps none."""
        self.snapshots = snapshots
        if snapshots is not None:
            snapshots.begin(source, start)

    def end(self) -> None:
        """The run is over: what still waits is cancelled."""
        while True:
            try:
                self._asked.get_nowait()[0].cancel()
            except Empty:
                return

    def _ask(self, action: _Action) -> Done:
        done: Done = Future()
        self._asked.put((done, action))
        return done

    def _hold(self, held: bool) -> str:
        self._stateful().hold(held)
        self.held = held
        return "holding: answers stay adapted, nothing is learned" if held else "learning again"

    def _reset(self, _position: Position) -> str:
        self._stateful().reset()
        if self.snapshots is not None:
            self.snapshots.forget()
        return "back to the artifact's own state"

    def _stateful(self) -> Stateful:
        if not isinstance(self._method, Stateful):
            raise AdaptationError(f"the method {self._method.name!r} learns nothing. Run with --adapt every.")
        return self._method

    def _kept(self) -> Snapshots:
        if self.snapshots is None:
            raise ConfigError("this run keeps no snapshots. Run with --state DIR.")
        return self.snapshots


def _settle(done: Done, action: _Action, position: Position) -> None:
    try:
        outcome = action(position)
    except Exception as exc:  # goes to who asked; the answers go on
        done.set_exception(exc)
        return
    if isinstance(outcome, str):
        done.set_result(outcome)
    else:
        outcome.add_done_callback(partial(_tell_written, done))


def _tell_written(done: Done, written: Future[Path]) -> None:
    failure = written.exception()
    if failure is None:
        done.set_result(f"wrote {written.result().name}")
    else:
        done.set_exception(failure)
