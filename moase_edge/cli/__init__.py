"""The command line: a file a command; each parses, calls one function, and prints."""

from __future__ import annotations

from collections.abc import Sequence

from moase_edge.cli.interrupt import ended_by_signals


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with the error's exit code."""
    with ended_by_signals("interrupted", unwinding=True):
        with ended_by_signals("interrupted; nothing was written"):
            from moase_edge.cli import app  # not above: an interrupted import would show a traceback
        app.main(arguments)


__all__ = ["main"]
