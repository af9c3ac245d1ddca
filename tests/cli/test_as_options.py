"""A dataclass of options becomes the options of a command, and comes back whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from moase_edge.cli.as_options import as_options


@dataclass(frozen=True)
class Place:
    folder: Annotated[Path | None, typer.Option("--out", help="Where to.")] = None
    force: Annotated[bool, typer.Option("--force")] = False


@dataclass(frozen=True)
class Arguments:
    name: str
    times: Annotated[int, typer.Option(min=1)] = 1
    place: Place = field(default_factory=Place)
    tags: Annotated[list[str] | None, typer.Option()] = None


@dataclass(frozen=True)
class Named:
    times: Annotated[int, typer.Option()] = 1
    place: Place = field(default_factory=Place)
    force: Annotated[bool, typer.Option("--force")] = False


def command(act: Callable[[Arguments], Any], told: list[str] | None = None) -> typer.Typer:
    def greet(context: typer.Context, given: Arguments) -> None:
        """Greet somebody."""
        if told is not None:
            told.extend(context.params)
        act(given)

    app = typer.Typer()
    app.command()(as_options(greet))
    return app


def given_by(*words: str) -> Arguments:
    came: list[Arguments] = []
    outcome = CliRunner().invoke(command(came.append), list(words), catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return came[0]


def test_each_field_is_an_option_of_its_type() -> None:
    given = given_by("Ann", "--times", "3", "--tags", "a", "--tags", "b", "--out", "there", "--force")
    assert given == Arguments("Ann", 3, Place(Path("there"), force=True), ["a", "b"])


def test_what_is_left_out_is_the_field_s_default() -> None:
    assert given_by("Ann") == Arguments("Ann")


def test_the_fields_of_a_group_stand_where_the_group_does() -> None:
    told: list[str] = []
    assert CliRunner().invoke(command(print, told), ["Ann"]).exit_code == 0
    assert told == ["name", "times", "folder", "force", "tags"]


def test_help_is_the_command_s_docstring_and_what_fields_say() -> None:
    shown = CliRunner().invoke(command(print), ["--help"]).output
    assert "Greet somebody." in shown
    assert "Where to." in shown


@pytest.mark.parametrize("words", [["--times", "3"], ["Ann", "--times", "0"]])
def test_a_field_without_default_is_needed_and_bounds_hold(words: list[str]) -> None:
    assert CliRunner().invoke(command(print), words).exit_code == 2


def test_two_fields_of_one_name_are_refused() -> None:
    def greet(given: Named) -> None:
        """Greet somebody."""

    with pytest.raises(ValueError, match="force"):
        as_options(greet)
