"""Where the browser view listens, and what must be known to reach it."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from moase_edge.errors import ConfigError

TOKEN_VARIABLE = "MOASE_EDGE_WEB_TOKEN"
_SHORTEST_TOKEN = 12
_BACKLOG = 64
_SLOWEST_MS = 30_000
_FORM = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})")
_ADVICE = "Expected HOST:PORT, such as 127.0.0.1:8080; port 0 takes a free one."


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A socket that listens already, so that a port that is taken is told before a model is loaded.

    Attributes:
        socket: whoever serves it closes it.
        host: as it was given.
        port: of the socket.
        loopback: whether only this machine can reach it.
        token: that every request must carry; None where none is asked for.
    """

    socket: socket.socket
    host: str
    port: int
    loopback: bool
    token: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """What to open in a browser."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def close(self) -> None:
        """Stop listening; closing twice is allowed."""
        self.socket.close()


def listen(address: str, token: str | None) -> WebAddress:
    """Listen at HOST:PORT.

    Args:
        token: needed for an address that other machines can reach.

    Raises:
        ConfigError: no such address, a port that is taken, a token that is missing or weak.
    """
    host, port = _parsed(address)
    if token is not None:
        _refuse_weak(token)
    family, kind, protocol, place = _resolved(host, port, address)
    loopback = ip_address(str(place[0]).partition("%")[0]).is_loopback
    if not loopback and token is None:
        raise ConfigError(
            f"--web {address} can be reached from other machines, so it needs a token: --web-token, or "
            f"{TOKEN_VARIABLE} in the environment. Or take 127.0.0.1:{port}, which only this machine reaches."
        )
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # a client that takes nothing is let go, with what waits for it
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SLOWEST_MS)
        listening.bind(place)
        listening.listen(_BACKLOG)
    except OSError as exc:
        listening.close()
        raise ConfigError(
            f"cannot listen at --web {address}: {exc.strerror}. Take another port, or 0 for a free one."
        ) from exc
    return WebAddress(listening, host, listening.getsockname()[1], loopback, token)


def _parsed(address: str) -> tuple[str, int]:
    match = _FORM.fullmatch(address)
    if match is None or int(match[3]) > 65_535:
        raise ConfigError(f"--web {address!r} is no address. {_ADVICE}")
    return match[1] or match[2], int(match[3])


def _refuse_weak(token: str) -> None:
    # The token itself is never shown.
    if len(token) < _SHORTEST_TOKEN or not re.fullmatch(r"[!-~]+", token):
        raise ConfigError(
            f"the token of --web must have {_SHORTEST_TOKEN} characters or more, printable ASCII without spaces. "
            "`openssl rand -hex 16` makes one."
        )


def _resolved(host: str, port: int, address: str) -> tuple[int, int, int, Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        raise ConfigError(f"--web {address!r}: there is no host of that name. {_ADVICE}") from exc
    family, kind, protocol, _, place = found[0]
    return family, kind, protocol, place
