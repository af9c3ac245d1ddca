"""What `run` does about the browser view: listen before anything is loaded, serve while it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from moase_edge.cli.extras import needing
from moase_edge.cli.run import WebArguments
from moase_edge.errors import ConfigError
from moase_edge.frames.source import Source
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.web.address import TOKEN_VARIABLE, WebAddress, listen
from moase_edge.runtime.web.live import Live


def open_web(given: WebArguments, stack: ExitStack) -> WebAddress | None:
    """Listen where that was asked for; until the stack closes.

    Raises:
        ConfigError: no such address, a port that is taken, a token that is missing or weak, or the packages of the
            extra `web` are missing.
    """
    if given.address is None:
        if given.token is not None:
            raise ConfigError("--web-token is for the browser view. Give --web too, or leave it out.")
        return None
    with needing("web"):
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    token = given.token if given.token is not None else os.environ.get(TOKEN_VARIABLE) or None
    address = listen(given.address, token)
    stack.callback(address.close)
    return address


@contextmanager
def serving(address: WebAddress | None, pipeline: Pipeline, source: Source) -> Iterator[Live | None]:
    """Serve the run during the block; what the loop tells goes to what is yielded. None where nothing listens."""
    if address is None:
        yield None
        return
    from moase_edge.runtime.web.server import WebServer

    live = Live(pipeline, source)
    pipeline.on_batch = live.learned
    try:
        with WebServer(live, address):
            yield live
    finally:
        pipeline.on_batch = None
