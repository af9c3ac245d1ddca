"""`moase-edge doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    artifact: Annotated[
        Path | None, typer.Option(help="Artifact folder to choose an engine for. Default: the newest.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Show what this machine has, what would be used of it, and what is missing with the command that adds it.

    Ends with 0 unless something is known to fail here, then with 4.
    """
    from moase_edge.cli.doctor_view import show, show_json
    from moase_edge.errors import EngineError
    from moase_edge.runtime.doctor.examine import examine

    findings = examine(artifact)
    (show_json if json else show)(findings)
    bad = [finding.name for finding in findings if finding.state == "bad"]
    if bad:
        raise EngineError(f"known to fail here: {', '.join(bad)}. The page above says what to do.")
