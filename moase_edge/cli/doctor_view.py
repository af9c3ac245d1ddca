"""What `doctor` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moase_edge.report.plain import plain_json
from moase_edge.runtime.doctor.finding import Finding, State

# A mark that reads without colours too.
_MARKS: dict[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "cyan"),
    "missing": ("missing", "yellow"),
    "bad": ("bad", "bold red"),
}


def show(findings: Sequence[Finding]) -> None:
    """A table for each part."""
    console = Console()
    for part, of in groupby(findings, key=lambda finding: finding.part):
        console.print(_table(part, list(of)))


def _table(part: str, findings: Sequence[Finding]) -> Table:
    table = Table(title=part, title_justify="left", box=None, show_header=False, pad_edge=False)
    for width in (8, 26):
        table.add_column(min_width=width, vertical="top")
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.state]
        told = escape(finding.found) + (f"\n  {escape(finding.advice)}" if finding.advice else "")
        table.add_row(f"[{style}]{mark}[/]", escape(finding.name), told)
    return table


def show_json(findings: Sequence[Finding]) -> None:
    """One JSON list."""
    typer.echo(json.dumps(plain_json(findings), indent=1))
