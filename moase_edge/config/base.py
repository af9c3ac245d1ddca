"""What all settings share, and the one way to load them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from moase_edge.errors import ConfigError


class Settings(BaseModel):
    """A frozen set of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=BaseModel)

_SHOWN_CHARACTERS = 80


def describe_faults(error: ValidationError) -> str:
    """Every fault of a failed validation, one a line: where, what was expected, what was got."""
    lines = []
    for fault in error.errors(include_url=False):
        where = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        # What was got is the whole object where a field is missing or the fields contradict each other.
        got = "" if isinstance(fault["input"], Mapping) else f" (got {_shortened(fault['input'])})"
        lines.append(f"  {where}: {message}{got}" if where else f"  {message}{got}")
    return "\n".join(lines)


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
        raise ConfigError(
            f"{count} fault{'s' if count > 1 else ''} in {kind.__name__}:\n{describe_faults(exc)}{known}"
        ) from exc
