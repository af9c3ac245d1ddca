"""One line of the doctor's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "missing", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        part: heading it stands under: "packages", "engines", ...
        name: what was looked at.
        found: what is there, for people.
        state: "ok"; "note" worth knowing; "missing", which something needs; "bad", which is known to fail.
        advice: what to do, with the command; empty where nothing is to be done.
    """

    part: str
    name: str
    found: str
    state: State = "ok"
    advice: str = ""
