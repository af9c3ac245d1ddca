"""The buttons: asked for over HTTP, done by the loop between two frames."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from moase_edge.errors import MoaseEdgeError
from moase_edge.runtime.web.answers import Action, Asked, Done
from moase_edge.runtime.web.live import Live
from moase_edge.runtime.web.status import controls_of

_WAIT_S = 20.0


class Refused(Exception):  # noqa: N818 - an answer to a request, no fault
    """A request that is not done, with the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def press(live: Live, action: Action, asked: Asked, *, wait_s: float = _WAIT_S) -> Done:
    """Have the loop do something, and wait until it has.

    Raises:
        Refused: it cannot be done now, it failed, or the loop did not come to it in time.
    """
    control = controls_of(live)[action]
    if control.reason is not None:
        raise Refused(409, f"{action}: {control.reason}.")
    if asked.name is not None and action != "rollback":
        raise Refused(422, f"{action} takes no name; only rollback does.")
    return Done(action=action, done=await _outcome(_ask(live, action, asked), action, wait_s))


def _ask(live: Live, action: Action, asked: Asked) -> Future[str]:
    controls = live.pipeline.controls
    if action == "rollback":
        return controls.rollback(asked.name)
    return {
        "hold": controls.hold,
        "resume": controls.resume,
        "reset": controls.reset,
        "snapshot": controls.snapshot,
    }[action]()


async def _outcome(future: Future[str], action: Action, wait_s: float) -> str:
    waiting = asyncio.wrap_future(future)
    await asyncio.wait({waiting}, timeout=wait_s)
    if not waiting.done():
        taken_back = future.cancel()
        waiting.cancel()
        what = "nothing was done" if taken_back else "it is still being done"
        raise Refused(504, f"{action}: not done after {wait_s:g} s; {what}.")
    if waiting.cancelled():
        raise Refused(409, f"{action}: the run has ended.")
    failure = waiting.exception()
    if isinstance(failure, MoaseEdgeError):
        raise Refused(409, f"{action}: {failure}")
    if failure is not None:
        raise Refused(500, f"{action}: {failure!r}")
    return waiting.result()
