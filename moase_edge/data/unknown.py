"""What to say of a name that nothing has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def does_not_exist(kind: str, name: object, known: Iterable[str]) -> str:
    """A sentence without its full stop: the name, the nearest one that there is, and all of them."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{kind} {name!r} does not exist; {hint}expected one of {', '.join(names)}"
