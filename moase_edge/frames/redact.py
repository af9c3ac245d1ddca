"""Source names that are safe to print and to log."""

from __future__ import annotations

import re

HIDDEN = "***"

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
