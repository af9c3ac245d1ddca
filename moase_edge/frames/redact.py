"""Source names that are safe to print and to log."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

HIDDEN = "***"
_SHORTEST_SECRET = 2  # a single letter would be struck out of every word

# Query keys that say what is streamed, not who asks. Every other value is hidden: camera makers name the keys
# of their credentials as they please.
_PLAIN_KEYS = frozenset(
    {"channel", "subtype", "stream", "profile", "resolution", "width", "height", "fps", "codec", "compression"}
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ADDRESS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USER_AND_PASSWORD = re.compile(r"[^/:@]*:.*@", re.DOTALL)
# Some cameras carry credentials in the path: /user=admin&password=x&channel=1
_SECRET_IN_PATH = re.compile(
    r"((?:user|usr|login|pass|pwd|token|secret|auth|key|cred|sig|session|sid)\w*=).*", re.IGNORECASE | re.DOTALL
)


def redact(uri: str) -> str:
    """`uri` without credentials and without control characters.

    Hidden are everything between the scheme and the last `@`, the values in the query unless their key is known
    to be harmless (`?channel=1`), credentials written into the path, and the fragment. Where a URI is ambiguous,
    more is hidden rather than less.
    """
    match = _ADDRESS_SCHEME.match(uri)
    scheme, address = (match.group(), uri[match.end() :]) if match else ("", uri)
    if scheme and "@" in address:
        address = f"{HIDDEN}@{address.rpartition('@')[2]}"
    elif credentials := _USER_AND_PASSWORD.match(address):
        address = f"{HIDDEN}@{address[credentials.end() :]}"
    address, hash_mark, fragment = address.partition("#")
    path, question_mark, query = address.partition("?")
    path = _SECRET_IN_PATH.sub(rf"\1{HIDDEN}", path)
    query = "".join(_hide_value(part) for part in re.split(r"([&;])", query))
    return printable(f"{scheme}{path}{question_mark}{query}{hash_mark}{HIDDEN if fragment else ''}")


def scrub(text: str, uri: str) -> str:
    """`text`, which a library wrote about `uri`, with nothing in it that `redact` would hide.

    The address may stand in it whole, in part, or decoded.
    """
    text = text.replace(uri, redact(uri))
    for secret in sorted(_secrets_of(uri), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets_of(uri: str) -> set[str]:
    """What `redact` hides of an address, in every form in which a library may repeat it."""
    address = uri.partition("://")[2] or uri
    before, at, _ = address.rpartition("@")
    parts = {before, *before.partition(":")[::2]} if at else set()
    for key, _, value in (part.partition("=") for part in re.split(r"[?&;/#]", address)):
        if value and (key.lower() not in _PLAIN_KEYS):
            parts.add(value)
    decoded = {unquote(part) for part in parts} | {unquote_plus(part) for part in parts}
    return {part for part in parts | decoded if len(part) >= _SHORTEST_SECRET}


def printable(text: str) -> str:
    """`text` with every character that a terminal or a UTF-8 log cannot print replaced by U+FFFD."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def scheme_of(uri: str) -> str | None:
    """The scheme of `uri` in lower case, None where it has none: `rtsp` of `rtsp://host`, `csi` of `csi:0`."""
    match = _SCHEME.match(uri)
    return match.group(1).lower() if match else None


def _hide_value(part: str) -> str:
    """One part of a query, or the mark between two, with its value hidden unless the key is a plain one."""
    if part in ("", "&", ";"):
        return part
    key, equals, _ = part.partition("=")
    if not equals:
        return HIDDEN
    return part if key.lower() in _PLAIN_KEYS else f"{key}={HIDDEN}"
