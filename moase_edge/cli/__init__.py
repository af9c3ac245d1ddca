"""The command line: a file a command; each parses, calls one function, and prints."""

from __future__ import annotations

from moase_edge.cli.app import main

__all__ = ["main"]
