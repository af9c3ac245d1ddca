"""The server in a thread of its own; whatever becomes of it, the run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from types import TracebackType

import uvicorn

from moase_edge.runtime.web.access import Access
from moase_edge.runtime.web.address import WebAddress
from moase_edge.runtime.web.app import WebApp
from moase_edge.runtime.web.connections import MOST_CONNECTIONS, LimitedConnection
from moase_edge.runtime.web.live import Live

logger = logging.getLogger(__name__)

_BACKLOG = 16
_GRACE_S = 1
_JOIN_S = 4.0
_NICENESS = 5


class WebServer:
    """Serves a run as long as its `with` block lasts; ends within seconds.

    Args:
        live: what the loop hands over.
        address: that listens already; closed with the server.

    Attributes:
        access: who may ask.
        app: what is served.
    """

    def __init__(self, live: Live, address: WebAddress) -> None:
        self._live, self._address = live, address
        self.access = Access(address)
        self.app = WebApp(live, self.access)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.app.asgi,
                http=LimitedConnection,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)

    def __enter__(self) -> WebServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End all connections and the thread; takes five seconds at most."""
        self._live.ended = self._live.ended or "the run has ended"
        self._server.should_exit = True
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(1)
        if self._thread.is_alive():
            logger.warning("the browser view does not end; it is left behind")
        self._address.close()

    def _serve(self) -> None:
        try:
            _yield_to_the_loop()
            asyncio.run(self._both())
        except BaseException as exc:  # uvicorn ends with SystemExit where it cannot start
            logger.warning("the browser view has ended: %r. The run goes on without it.", exc)
        finally:
            self._address.close()

    async def _both(self) -> None:
        """The server, and beside it what takes over the loop's figures; either ends with the other."""
        ticking = asyncio.ensure_future(self.app.tick())
        serving = asyncio.ensure_future(self._server.serve([self._address.socket]))
        try:
            await asyncio.wait({ticking, serving}, return_when=asyncio.FIRST_COMPLETED)
            if ticking.done():
                self._server.should_exit = True
            await serving
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking


def _yield_to_the_loop() -> None:
    """Let the thread that answers frames have the processor first; Linux counts niceness by thread."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
