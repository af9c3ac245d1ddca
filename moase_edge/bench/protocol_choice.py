"""A protocol as a user writes it: `continual`, `clips:frames=6,order=shuffled`, `latency_aware:over=clips`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from moase_edge.data.protocols import PROTOCOLS, protocol_options
from moase_edge.data.unknown import does_not_exist
from moase_edge.errors import ConfigError

LATENCY_AWARE = "latency_aware"
_OVER = "over"
# Set by the benchmark itself, for every protocol alike.
_NOT_CHOSEN = ("limit", "fit")


@dataclass(frozen=True, slots=True)
class ProtocolChoice:
    """What a text stands for.

    Attributes:
        text: as written.
        stream: the protocol that makes the frames.
        options: of that protocol.
        latency_aware: whether the clock runs on while a method learns; frames then come one at a time.
    """

    text: str
    stream: str
    options: Mapping[str, int | float | str]
    latency_aware: bool


def parse_protocol(text: str) -> ProtocolChoice:
    """Read a protocol and its options.

    The latency-aware clock is laid over single frames, or over what `over` names: `latency_aware:over=clips`,
    with that protocol's own options behind it.

    Raises:
        ConfigError: an unknown protocol or option, or a part that is no `key=value`.
    """
    name, _, rest = text.partition(":")
    given = dict(_pair(text, part) for part in rest.split(",") if part)
    latency_aware = name == LATENCY_AWARE
    stream = str(given.pop(_OVER, "single_frame")) if latency_aware else name
    if stream not in PROTOCOLS:
        raise ConfigError(does_not_exist("protocol", stream, (*PROTOCOLS, LATENCY_AWARE)))
    known = choosable_options(stream)
    for key in given:
        if key not in known:
            free = [*([_OVER] if latency_aware else []), *known]
            raise ConfigError(f"protocol {text!r}: {key!r} is no option; expected {', '.join(free) or 'none'}")
    return ProtocolChoice(text, stream, given, latency_aware)


def file_stem(text: str) -> str:
    """A name for the files of a protocol as written, unlike that of any other protocol.

    `dirichlet:delta=1e-3` and `dirichlet:delta=1e+3` differ in a character that a file name had better not have.
    """
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", text)
    if plain == text:
        return text
    return f"{plain[:60]}-{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"


def choosable_options(protocol: str) -> dict[str, object]:
    """What a user may set of a protocol, with its defaults."""
    return {name: value for name, value in protocol_options(protocol).items() if name not in _NOT_CHOSEN}


def _pair(text: str, part: str) -> tuple[str, int | float | str]:
    key, equals, value = part.partition("=")
    if not equals:
        raise ConfigError(f"protocol {text!r}: {part!r} is no option; expected key=value")
    return key, _value(value)


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
