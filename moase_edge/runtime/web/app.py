"""The application: pages, pictures, the JSON API, metrics and buttons."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any
from urllib.parse import parse_qs

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from moase_edge.config.base import describe_faults
from moase_edge.runtime.web.access import Access, Guarded
from moase_edge.runtime.web.answers import Action, Asked, Results
from moase_edge.runtime.web.controls import Refused, press
from moase_edge.runtime.web.history import KEPT, History
from moase_edge.runtime.web.live import Live
from moase_edge.runtime.web.openapi import ACTIONS, document
from moase_edge.runtime.web.pictures import Pictures
from moase_edge.runtime.web.prometheus import CONTENT_TYPE, exposition
from moase_edge.runtime.web.status import QUIET_S, health_of, past, status_of
from moase_edge.runtime.web.streams import MOST_STREAMS, MjpegResponse, Watching, picture_response

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_PAGES = {"/": "view.html", "/docs": "docs.html", "/login": "login.html"}
_STATIC = ("view.js", "charts.js", "docs.js", "style.css", "icon.svg")
_MOST_BODY_BYTES = 4096
_PICTURE_WAIT_S = 5.0
_TICK_S = 0.05

Endpoint = Callable[[Request], Awaitable[Response]]


class WebApp:
    """What is served; all of it runs on the watching thread.

    Args:
        live: what the loop hands over.
        access: who may ask.

    Attributes:
        asgi: the application itself.
        watching: those who wait for pictures.
    """

    def __init__(self, live: Live, access: Access) -> None:
        self._live, self._access = live, access
        self._history = History()
        self.watching = Watching(live, Pictures(live))
        self.asgi = Guarded(Starlette(routes=self.routes(), exception_handlers=_HANDLERS), access)

    async def tick(self) -> None:
        """Take over what the loop has told, for as long as the server runs."""
        while True:
            self._catch_up()
            self.watching.tick()
            await asyncio.sleep(_TICK_S)

    def _catch_up(self) -> None:
        for moment in self._live.take():
            self._history.add(moment)

    def routes(self) -> list[Route]:
        """Every path."""
        answers: dict[str, Endpoint] = {
            "/api/v1/status": self._status,
            "/api/v1/results": self._results,
            "/api/v1/picture": self._picture,
            "/stream.mjpg": self._stream,
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/openapi.json": self._openapi,
        }
        return [
            *(Route(path, _file(name), methods=["GET"]) for path, name in _PAGES.items()),
            *(Route(f"/static/{name}", _file(name), methods=["GET"]) for name in _STATIC),
            *(Route(path, endpoint, methods=["GET"]) for path, endpoint in answers.items()),
            Route("/api/v1/controls/{action}", self._control, methods=["POST"]),
            Route("/login", self._log_in, methods=["POST"]),
        ]

    async def _status(self, _request: Request) -> Response:
        self._catch_up()
        return _json(status_of(self._live, self._history))

    async def _results(self, request: Request) -> Response:
        after, most = _number(request, "after", 0), int(_number(request, "most", 300))
        self._catch_up()
        found = self._history.since(int(after), most=min(most, KEPT))
        labels = self._live.pipeline.labels
        return _json(Results.model_construct(results=[past(number, moment, labels) for number, moment in found]))

    async def _picture(self, request: Request) -> Response:
        after = int(_number(request, "after", 0))
        picture = await self.watching.after(after, wait_s=_PICTURE_WAIT_S)
        if picture is None or picture.number == after:
            return Response(status_code=204)
        return picture_response(picture, self._live.pipeline.labels)

    async def _stream(self, _request: Request) -> Response:
        if self.watching.streams >= MOST_STREAMS:
            raise Refused(503, f"{MOST_STREAMS} clients read the stream already. Try again later.")
        return MjpegResponse(self.watching)

    async def _metrics(self, _request: Request) -> Response:
        self._catch_up()
        return Response(exposition(self._live, self._history), headers={"content-type": CONTENT_TYPE})

    async def _health(self, request: Request) -> Response:
        health = health_of(self._live, _number(request, "within_s", QUIET_S))
        if health.reason is not None and not self._access.knows(request.headers):
            health = health.model_copy(update={"reason": "frames are not answered"})
        return _json(health, 200 if health.healthy else 503)

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(document(needs_token=self._access.needs_token))

    async def _control(self, request: Request) -> Response:
        action: str = request.path_params["action"]
        if action not in ACTIONS:
            raise Refused(404, f"there is no button {action!r}. There are: {', '.join(ACTIONS)}.")
        body = await _body(request)
        try:
            asked = Asked.model_validate_json(body) if body else Asked()
        except ValidationError as exc:
            raise Refused(422, f"the body is not what {action} takes:\n{describe_faults(exc)}") from exc
        self._catch_up()
        return _json(await press(self._live, _action(action), asked))

    async def _log_in(self, request: Request) -> Response:
        given = parse_qs((await _body(request)).decode("utf-8", "replace"), max_num_fields=4).get("token", [""])[0]
        if not self._access.is_token(given.strip()):
            page = _static("login.html").replace(b"<!-- wrong -->", b"<p role=alert>That is not the token.</p>")
            return Response(page, 401, media_type="text/html")
        return RedirectResponse("/", status_code=303, headers={"set-cookie": self._access.cookie()})


def _action(name: str) -> Action:
    return next(action for action in ACTIONS if action == name)


def _file(name: str) -> Endpoint:
    """A file of this package, read once."""
    data = _static(name)
    media_type = _TYPES[name[name.rindex(".") :]]

    async def send(_request: Request) -> Response:
        return Response(data, media_type=media_type)

    return send


def _static(name: str) -> bytes:
    return resources.files("moase_edge.runtime.web").joinpath(f"static/{name}").read_bytes()


def _json(model: BaseModel, status: int = 200) -> Response:
    return Response(model.model_dump_json(), status, media_type="application/json")


def _refused(_request: Request, refused: Exception) -> Response:
    status = refused.status if isinstance(refused, Refused) else 500
    return JSONResponse({"error": str(refused)}, status)


def _failed(_request: Request, _failure: Exception) -> Response:
    return JSONResponse({"error": "this is a fault of moase-edge; the run's standard error says more."}, 500)


def _number(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e15:
        raise Refused(422, f"{name} must be a number from 0; got {text[:50]!r}.")
    return value


async def _body(request: Request) -> bytes:
    """All of it, if it is small."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BODY_BYTES:
            raise Refused(413, f"the body is longer than {_MOST_BODY_BYTES} bytes.")
    return body


def _unknown(request: Request, _missing: Exception) -> Response:
    return JSONResponse({"error": f"there is nothing at {request.url.path}; /docs lists what there is."}, 404)


_HANDLERS: dict[Any, Callable[[Request, Exception], Response]] = {
    Refused: _refused,
    404: _unknown,
    Exception: _failed,
}
