"""HTTP connections that cannot use up what the process has: few at a time, and none that asks for nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64


class LimitedConnection(H11Protocol):
    """uvicorn's connection, closed at once where too many are open, and soon where no whole request comes.

    Without this, connections that nobody sends anything on stay for ever, and each holds a file descriptor that
    the source or a snapshot may need.

    Attributes:
        patience_s: for a request to have come, head and all.
    """

    patience_s = 10.0
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or close where too many are open."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; wait no longer where that made a request."""
        super().data_received(data)
        if self._asks():
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        self._waiting = None
        if not self._asks():
            self.transport.abort()

    def _asks(self) -> bool:
        """Whether a request is being answered."""
        cycle: Any = self.cycle  # the latest request's; None before the first
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.patience_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
