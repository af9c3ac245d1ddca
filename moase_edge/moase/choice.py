"""Choice by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from moase_edge.errors import ConfigError

T = TypeVar("T")


def choose(kind: str, choices: Mapping[str, T], name: str) -> T:
    """The choice of that name.

    Raises:
        ConfigError: there is none; lists the names that there are.
    """
    if name not in choices:
        raise ConfigError(f"there is no {kind} named {name!r}; choose one of {', '.join(choices)}.")
    return choices[name]
