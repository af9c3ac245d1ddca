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


def describe_faults(error: ValidationError) -> str:
    """Every fault of a failed validation, one a line: where, what was got, what was expected."""
    lines = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"]) or "(whole)"
        lines.append(f"  {where}: {fault['msg']} (got {fault.get('input')!r})")
    return "\n".join(lines)


def load_settings(kind: type[S], values: Mapping[str, Any]) -> S:
    """Build settings of `kind` from plain values.

    Raises:
        ConfigError: naming every fault at once.
    """
    try:
        return kind(**values)
    except ValidationError as exc:
        count = exc.error_count()
        raise ConfigError(
            f"{count} fault{'s' if count > 1 else ''} in {kind.__name__}:\n{describe_faults(exc)}"
        ) from exc
