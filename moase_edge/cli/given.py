"""Options that were given, and would do nothing beside others."""

from __future__ import annotations

from collections.abc import Collection

import typer

from moase_edge.errors import ConfigError


def given_options(context: typer.Context) -> dict[str, str]:
    """What stands on the command line: names of parameters, and how they are written; a default does not count."""
    written = {of.name: of.opts[0] for of in context.command.params if of.name is not None}
    sources = {name: context.get_parameter_source(name) for name in written}
    return {
        name: written[name]
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    }


def refuse_given(context: typer.Context, names: Collection[str], why: str) -> None:
    """Refuse options that would be accepted and do nothing.

    Args:
        names: of the command's parameters.
        why: what they lack, behind their names: "need --calib-data".

    Raises:
        ConfigError: naming those that were given.
    """
    given = [option for name, option in given_options(context).items() if name in names]
    if given:
        raise ConfigError(f"{', '.join(given)} {why}. Give that too, or leave {', '.join(given)} out.")
