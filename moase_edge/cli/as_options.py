"""Commands that take dataclasses of options: each field is an option, named, typed and explained once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, get_type_hints


def as_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same command with a parameter for each field of the dataclasses that it takes, as typer wants it.

    A field that is a dataclass itself is a group: its fields stand in its place, so names have to differ across
    groups too. What else the command takes, such as the context, it goes on taking.

    Raises:
        ValueError: two fields have the same name.
    """
    taken = get_type_hints(command, include_extras=True)
    del taken["return"]

    @wraps(command)
    def called(**values: Any) -> None:
        command(
            **{name: _gathered(of, values) if is_dataclass(of) else values[name] for name, of in taken.items()}
        )

    flat = [parameter for name, of in taken.items() for parameter in _parameters(name, of)]
    called.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return called


def _parameters(name: str, of: Any, default: Any = Parameter.empty) -> Iterator[Parameter]:
    """A parameter of this type, or of the fields of a dataclass."""
    if not is_dataclass(of):
        yield Parameter(name, Parameter.KEYWORD_ONLY, annotation=of, default=default)
        return
    for field, type_ in _typed_fields(of):
        yield from _parameters(field.name, type_, Parameter.empty if field.default is MISSING else field.default)


def _gathered(of: Any, values: Mapping[str, Any]) -> Any:
    """The dataclass that these values, by the names of its fields and of its groups' fields, make."""
    return of(
        **{
            field.name: _gathered(type_, values) if is_dataclass(type_) else values[field.name]
            for field, type_ in _typed_fields(of)
        }
    )


def _typed_fields(of: Any) -> Iterator[tuple[Field[Any], Any]]:
    types = get_type_hints(of, include_extras=True)
    return ((field, types[field.name]) for field in fields(of))
