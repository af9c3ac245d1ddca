"""Tables as plain data, and the forms in which they are shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from moase_edge.errors import ConfigError
from moase_edge.metrics.bootstrap import Difference
from moase_edge.metrics.latency import LatencySummary
from moase_edge.metrics.spread import Spread

if TYPE_CHECKING:
    from rich.table import Table as RichTable


class Percent(float):
    """A percentage, shown with one decimal."""

    __slots__ = ()


Cell = str | int | float | Spread | Difference

_LONGEST_NAME = 20

MISSING = "–"  # noqa: RUF001 - an en dash is the mark for a missing number


@dataclass(frozen=True, slots=True)
class Table:
    """A table that any renderer can show.

    Attributes:
        title: one line above the table.
        columns: heads, with units.
        rows: one cell a column. A column with a number in it is right-aligned; NaN shows as missing.
        note: one line below the table.
        strong: row and column of each cell that is shown in bold.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    strong: Set[tuple[int, int]] = frozenset()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ConfigError(
                    f"a row of table {self.title!r} has {len(row)} cells; expected {len(self.columns)}: {row!r}"
                )

    def numeric_columns(self) -> list[bool]:
        """Which columns hold a number in any row."""
        return [any(not isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))]


def latency_rows(summaries: Mapping[str, LatencySummary], share: Mapping[str, float]) -> Table:
    """Latency of each stage in milliseconds.

    Args:
        summaries: by stage, in the order of the rows.
        share: part of the whole frame by stage, 0 .. 1; a stage that it lacks shows as missing.
    """
    columns = ("stage", "count", "mean", "p50", "p90", "p95", "p99", "max", "share %")
    rows = [_latency_row(stage, summary, share.get(stage, math.nan)) for stage, summary in summaries.items()]
    return Table("Latency (ms)", columns, rows, "Percentiles are accurate to 0.25 %; no outlier is trimmed.")


def error_rows(series: Mapping[str, Mapping[str, float]]) -> Table:
    """Top-1 error by domain, a column for each run, and the mean over the domains below.

    Args:
        series: error in percent by domain, by name of the run; a domain that a run lacks shows as missing.
    """
    rows: list[tuple[Cell, ...]] = [
        (domain, *(errors.get(domain, math.nan) for errors in series.values())) for domain in domains_of(series)
    ]
    rows.append(("mean", *(mean_error(errors) for errors in series.values())))
    return Table("Top-1 error by domain (%)", ("domain", *series), rows)


def domains_of(series: Mapping[str, Mapping[str, float]]) -> list[str]:
    """All domains of all runs, in first-seen order."""
    return list(dict.fromkeys(domain for errors in series.values() for domain in errors))


def mean_error(errors: Mapping[str, float]) -> float:
    """Mean of the finite errors, each domain counting once; NaN where there are none."""
    finite = [error for error in errors.values() if math.isfinite(error)]
    return math.fsum(finite) / len(finite) if finite else math.nan


def format_cell(cell: Cell) -> str:
    """A cell as text: two decimals from 1 on, three significant digits below, thousands apart.

    A `Percent` has one decimal; a `Spread` is shown as `61.3 ± 0.4`, a `Difference` as `-3.2 [-4.5, -1.9]`.
    """
    if isinstance(cell, str):
        return cell
    if isinstance(cell, (Percent, Spread, Difference)):
        return _format_percent(cell)
    if isinstance(cell, (bool, np.bool_)):
        return "yes" if cell else "no"
    if isinstance(cell, (int, np.integer)):
        return f"{cell:,}"
    return _format_float(float(cell))


def to_markdown(table: Table) -> str:
    """GitHub-flavoured Markdown, ending in a newline."""
    marks = ["---:" if numeric else "---" for numeric in table.numeric_columns()]
    lines = [f"**{_markdown(table.title)}**", "", _markdown_row(table.columns), "|" + "|".join(marks) + "|"]
    lines += [_markdown_row(map(format_cell, row), _strong_columns(table, i)) for i, row in enumerate(table.rows)]
    if table.note:
        lines += ["", _markdown(table.note)]
    return "\n".join(lines) + "\n"


def to_html(table: Table) -> str:
    """A `<table>` element, everything escaped; numbers carry the class `number`."""
    kinds = [' class="number"' if numeric else "" for numeric in table.numeric_columns()]
    head = _html_row("th", [f'{kind} scope="col"' for kind in kinds], table.columns)
    body = [
        _html_row("td", kinds, list(map(format_cell, row)), _strong_columns(table, i))
        for i, row in enumerate(table.rows)
    ]
    note = f'\n<p class="note">{escape(table.note)}</p>' if table.note else ""
    lines = [f"<table>\n<caption>{escape(table.title)}</caption>", f"<thead>{head}</thead>", "<tbody>", *body]
    return "\n".join(lines) + f"\n</tbody>\n</table>{note}"


def to_rich(table: Table) -> RichTable:
    """A `rich` table for the terminal; text is shown as it is, never read as markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    # Light rules: the latency table then fits a terminal of 80 columns.
    note = Text(table.note) if table.note else None
    shown = RichTable(title=Text(table.title), caption=note, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, (name, numeric) in enumerate(zip(table.columns, table.numeric_columns(), strict=True)):
        # What a row is about stays in one piece; further texts give way where the terminal is narrow.
        names = max((len(str(row[0])) for row in table.rows), default=0) if i == 0 else 0
        shown.add_column(
            Text(name),
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",
            min_width=min(names, _LONGEST_NAME) or None,
        )
    for i, row in enumerate(table.rows):
        strong = _strong_columns(table, i)
        shown.add_row(
            *(Text(format_cell(cell), style="bold" if j in strong else "") for j, cell in enumerate(row))
        )
    return shown


def _latency_row(stage: str, s: LatencySummary, share: float) -> tuple[Cell, ...]:
    return (stage, s.count, s.mean_ms, s.p50_ms, s.p90_ms, s.p95_ms, s.p99_ms, s.max_ms, 100 * share)


def _format_percent(cell: Percent | Spread | Difference) -> str:
    if isinstance(cell, Spread):
        deviation = "" if math.isnan(cell.deviation) else f" ± {cell.deviation:.1f}"
        return MISSING if math.isnan(cell.mean) else f"{cell.mean:.1f}{deviation}"
    if isinstance(cell, Difference):
        ends = [_signed(end) for end in (cell.low, cell.high)]
        return _signed(cell.points) if MISSING in ends else f"{_signed(cell.points)} [{', '.join(ends)}]"
    return MISSING if math.isnan(cell) else f"{cell:.1f}"


def _signed(points: float) -> str:
    """One decimal with its sign; what rounds to nothing has none."""
    if math.isnan(points):
        return MISSING
    return "0.0" if abs(points) < 0.05 else f"{points:+.1f}"


def _format_float(value: float) -> str:
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    rounded = float(f"{value:.3g}")
    if rounded == 0 or abs(rounded) >= 1:
        return f"{value:,.2f}"
    if abs(rounded) < 1e-4:
        return f"{value:.2e}"
    return f"{value:.{2 - math.floor(math.log10(abs(rounded)))}f}"


def _markdown(text: str) -> str:
    for mark in ("\\", "|", "<", "*", "_", "`"):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())


def _markdown_row(cells: Iterable[str], strong: Set[int] = frozenset()) -> str:
    texts = map(_markdown, cells)
    return "| " + " | ".join(f"**{text}**" if i in strong else text for i, text in enumerate(texts)) + " |"


def _html_row(tag: str, attributes: Sequence[str], cells: Sequence[str], strong: Set[int] = frozenset()) -> str:
    texts = [f"<strong>{escape(cell)}</strong>" if i in strong else escape(cell) for i, cell in enumerate(cells)]
    pairs = zip(attributes, texts, strict=True)
    return "<tr>" + "".join(f"<{tag}{kind}>{text}</{tag}>" for kind, text in pairs) + "</tr>"


def _strong_columns(table: Table, row: int) -> Set[int]:
    return {column for place, column in table.strong if place == row}
