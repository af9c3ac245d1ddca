"""Who may ask: this machine, or who knows the token; never another web site through somebody's browser."""

from __future__ import annotations

import logging
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moase_edge.runtime.web.address import WebAddress

logger = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/healthz", "/login", "/static/style.css"})
"""What is answered without the token: nothing in it tells of what is seen or learned."""

_READING = frozenset({"GET", "HEAD"})
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/@]+))(?::[0-9]{1,5})?")
_SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned down: HTTP status and a sentence."""

    status: int
    error: str


class Access:
    """Judges requests.

    Args:
        address: that is served.
    """

    def __init__(self, address: WebAddress) -> None:
        self._token = address.token
        self._names = {"localhost", address.host.lower(), *_own_names()}
        self._session = secrets.token_urlsafe(32)
        # Cookies do not know ports: two runs on one machine must not end each other's session.
        self._cookie = f"moase_edge_{address.port}"

    @property
    def needs_token(self) -> bool:
        """Whether one is asked for."""
        return self._token is not None

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request must not be answered; None where it may be.

        Args:
            headers: by name in lower case.
        """
        host = headers.get("host", "")
        if not self._is_ours(host):
            return Refusal(421, f"this server is not called {host[:100]!r}. Ask it by its address.")
        if _is_cross_site(method, headers, host):
            return Refusal(403, "requests from other web sites are refused.")
        if path in OPEN_PATHS or self.knows(headers):
            return None
        return Refusal(
            401, "the token is missing or wrong. Log in at /login, or send 'Authorization: Bearer TOKEN'."
        )

    def is_token(self, given: str) -> bool:
        """Whether this is the token, in time that tells nothing."""
        return self._token is not None and _equal(given, self._token)

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether who asks may know everything: no token is asked for, or it was given."""
        return self._token is None or self._is_known(headers)

    def cookie(self) -> str:
        """The header that makes a browser known until the run ends."""
        return f"{self._cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict"

    def _is_known(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(given.strip())
        # Not by http.cookies, which reads nothing behind a cookie of another program that it does not like.
        return _equal(cookie_parser(headers.get("cookie", "")).get(self._cookie, ""), self._session)

    def _is_ours(self, host: str) -> bool:
        """Against DNS rebinding: a page of another site reaches this server under that site's name alone."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match[1] or match[2]).lower().rstrip(".")
        return name in self._names or _is_ip(name)


class Guarded:
    """An application behind `Access`, every answer of which carries the security headers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        refusal = self._access.refusal(scope["method"], scope["path"], headers)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                sent.update(_SECURITY)
                sent.setdefault("cache-control", "no-store")
            await send(message)

        answer: ASGIApp = self._app if refusal is None else _refused(refusal, headers)
        try:
            await answer(scope, receive, send_guarded)
        except ClientDisconnect:
            logger.debug("a client left before %s was answered", scope["path"])
        except Exception as exc:
            logger.warning("the browser view could not answer %s: %r", scope["path"], exc)


def _refused(refusal: Refusal, headers: Headers) -> Response:
    if refusal.status == 401 and headers.get("sec-fetch-mode") == "navigate":
        return RedirectResponse("/login", status_code=303)
    asking = {"www-authenticate": "Bearer"} if refusal.status == 401 else {}
    return JSONResponse({"error": refusal.error}, refusal.status, asking)


def _is_cross_site(method: str, headers: Mapping[str, str], host: str) -> bool:
    """Browsers say where a request comes from; other clients say nothing, and carry nobody's session."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        return True
    if method not in _READING:
        return site is not None and site != "same-origin"
    # A link from elsewhere may lead here; a picture or script of this server in another page may not be.
    return site in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate"


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name}.local"} if name else set()


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _equal(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
