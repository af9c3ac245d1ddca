"""Options that were given, and would do nothing beside others."""

from __future__ import annotations

from collections.abc import Collection

import typer

from moase_edge.errors import ConfigError


def is_given(context: typer.Context, name: str | None) -> bool:
    """Whether an option stands on the command line; its default does not count."""
    source = None if name is None else context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_given(context: typer.Context, names: Collection[str], why: str) -> None:
    """Refuse options that would be accepted and do nothing.

    Args:
        names: of the command's parameters.
        why: what they lack, behind their names: "need --calib-data".

    Raises:
        ConfigError: naming those that were given.
    """
    parameters = context.command.params
    given = [of.opts[0] for of in parameters if of.name in names and is_given(context, of.name)]
    if given:
        raise ConfigError(f"{', '.join(given)} {why}. Give that too, or leave {', '.join(given)} out.")
