"""Pictures as they come, to clients of any speed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from moase_edge.runtime.web.live import Live
from moase_edge.runtime.web.pictures import Picture, Pictures
from moase_edge.runtime.web.status import answer_to

MOST_STREAMS = 8
SLOWEST_S = 20.0
"""Seconds in which a client must take a picture; one that does not is let go."""
_BOUNDARY = "frame"


class Watching:
    """Those who wait for the next picture; one task makes it for all of them.

    Nothing is queued for a client: each is sent the newest picture once it has taken the one before.

    Attributes:
        streams: clients that read without end.
    """

    def __init__(self, live: Live, pictures: Pictures) -> None:
        self._live, self._pictures = live, pictures
        self._came = asyncio.Event()
        self._waiting = 0
        self.streams = 0

    def tick(self) -> None:
        """Make the next picture where somebody waits for one; called some times a second."""
        if not self._waiting:
            return
        before = self._pictures.newest
        if self._pictures.refresh() is not before or self._live.ended is not None:
            self._came.set()
            self._came = asyncio.Event()

    async def after(self, number: int, *, wait_s: float) -> Picture | None:
        """The newest picture once its number differs from this one; None where none came in time, or ever will."""
        if self._pictures.newest is None or self._pictures.newest.number == number:
            self._pictures.refresh()
        picture = self._pictures.newest
        if picture is not None and picture.number != number:
            return picture
        if self._live.ended is not None:
            return None
        self._waiting += 1
        try:
            await asyncio.wait_for(self._came.wait(), wait_s)
        except asyncio.TimeoutError:
            return None
        finally:
            self._waiting -= 1
        return self._pictures.newest

    async def each(self) -> AsyncIterator[Picture]:
        """Every picture that a client has time for, until the run ends."""
        number = 0
        while True:
            picture = await self.after(number, wait_s=SLOWEST_S)
            if picture is not None and picture.number != number:
                number = picture.number
                yield picture
            elif self._live.ended is not None:
                return


class MjpegResponse(Response):
    """`multipart/x-mixed-replace`, as cameras send it; ends with the run, the client, or the client's patience.

    Args:
        watching: gives the pictures.
        slowest_s: in which the client must take each of them.
    """

    def __init__(self, watching: Watching, *, slowest_s: float = SLOWEST_S) -> None:
        super().__init__(media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        del self.headers["content-length"]
        self._watching, self._slowest_s = watching, slowest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send pictures until there is a reason to stop."""
        self._watching.streams += 1
        sending = asyncio.ensure_future(self._send(send, scope["method"] == "HEAD"))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watching.streams -= 1
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send, head: bool) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if not head:
            async for picture in self._watching.each():
                body = {"type": "http.response.body", "body": _part(picture), "more_body": True}
                await asyncio.wait_for(send(body), self._slowest_s)
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(picture: Picture) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n"
    return head.encode() + picture.jpeg + b"\r\n"


def picture_response(picture: Picture, labels: tuple[str, ...]) -> Response:
    """One JPEG, and beside it what its frame was answered, so that no page shows one without the other."""
    answer = json.dumps(answer_to(picture.result, labels).model_dump(mode="json"))
    headers = {"x-picture": str(picture.number), "x-answer": answer}
    return Response(picture.jpeg, media_type="image/jpeg", headers=headers)
