"""Buttons for a run that goes on: asked for from any thread, done between two frames."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue

from moase_edge.errors import AdaptationError, ConfigError
from moase_edge.runtime.method import Method, Stateful
from moase_edge.runtime.snapshots import Position, Snapshots

Done = Future[str]
_Request = tuple[Done, Callable[[Position], str]]


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
        """Go back to the newest snapshot; asked again before another is written, to the one before it.

        Args:
            name: file name or number of a certain one.
        """
        return self._ask(lambda _: f"back to {self._kept().roll_back(name)}")

    def snapshot(self) -> Done:
        """Write a snapshot now."""
        return self._ask(lambda position: f"wrote {self._kept().take(position).name}")

    def between(self, position: Position) -> None:
        """Do what was asked for; called by the loop between two batches."""
        while True:
            try:
                done, action = self._asked.get_nowait()
            except Empty:
                break
            if done.set_running_or_notify_cancel():
                _settle(done, action, position)
        if self.snapshots is not None and not self.held:
            self.snapshots.between(position)

    def end(self) -> None:
        """The run is over: what still waits is cancelled."""
        while True:
            try:
                self._asked.get_nowait()[0].cancel()
            except Empty:
                return

    def _ask(self, action: Callable[[Position], str]) -> Done:
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


def _settle(done: Done, action: Callable[[Position], str], position: Position) -> None:
    try:
        done.set_result(action(position))
    except Exception as exc:  # goes to who asked; the answers go on
        done.set_exception(exc)
