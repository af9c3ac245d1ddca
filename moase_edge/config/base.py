"""What all settings share, and the one way to load them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from moase_edge.errors import ConfigError


class Settings(BaseModel):
    """A frozen set of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=BaseModel)

_SHOWN_CHARACTERS = 80


def describe_faults(error: ValidationError, known: Collection[str] = ()) -> str:
    """Every fault of a failed validation, one a line: where, what was expected, what was got.

    Args:
        known: keys at the top, of which the nearest is named for one that is unknown.
    """
    lines = []
    for fault in error.errors(include_url=False):
        # pydantic's mark for a fault in a key itself says nothing that the message does not.
        where = ".".join(str(part) for part in fault["loc"] if part != "[key]")
        message = fault["msg"].removeprefix("Value error, ")
        if known and fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1:
            near = _nearest(where, known)
            message = f"unknown; did you mean {near}?" if near else "unknown"
        # What was got is the whole object where a field is missing or the fields contradict each other.
        got = "" if isinstance(fault["input"], Mapping) else f" (got {_shortened(fault['input'])})"
        lines.append(f"  {where}: {message}{got}" if where else f"  {message}{got}")
    return "\n".join(lines)


def _nearest(key: str, known: Collection[str]) -> str | None:
    """The known key that is written alike, or is made of the initials: lr for learning_rate."""
    parts = key.lower().replace("-", "_").split("_")
    initials = "".join(part[:1] for part in parts)
    return initials if initials in known else next(iter(get_close_matches("_".join(parts), known, n=1)), None)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def load_settings(kind: type[S], values: Mapping[str, Any]) -> S:
    """Build settings of `kind` from plain values.

    Raises:
        ConfigError: naming every fault at once, and the keys there are where one is unknown.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as exc:
        count = exc.error_count()
        unknown = any(fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1 for fault in exc.errors())
        known = f"\nKnown are {', '.join(kind.model_fields)}." if unknown else ""
        faults = describe_faults(exc, kind.model_fields)
        raise ConfigError(f"{count} fault{'s' if count > 1 else ''} in {kind.__name__}:\n{faults}{known}") from exc
