"""Tables of a benchmark: methods beside each other, and two runs of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from moase_edge.errors import ConfigError
from moase_edge.metrics.bootstrap import Difference
from moase_edge.metrics.spread import Spread
from moase_edge.report.tables import MISSING, Cell, Percent, Table, domains_of, format_cell

_NO_SPREAD = Spread(math.nan, math.nan, 0)


@dataclass(frozen=True, slots=True)
class MethodRow:
    """What a table says of one method.

    Attributes:
        name: of the method.
        error_by_domain: in percent, the mean over seeds.
        error: in percent, mean over domains, over seeds.
        difference: to the source, with its interval; None for the source.
        further: other figures by head, such as `ECE (%)` or `ms/frame`.
    """

    name: str
    error_by_domain: Mapping[str, float]
    error: Spread
    difference: Difference | None = None
    further: Mapping[str, Cell] = field(default_factory=dict)


def method_table(
    rows: Sequence[MethodRow],
    *,
    title: str,
    source: str | None = None,
    by_domain: bool = True,
    lowest_is_best: Collection[str] = (),
    note: str = "",
) -> Table:
    """A row for each method: error in each domain, their mean, the difference to the source, further figures.

    The lowest value of a column is bold; so are those that look the same, and none where all do.

    Args:
        rows: of the methods, in the order of the rows.
        title: with what was run.
        source: name of the row that comes first.
        by_domain: False leaves the columns of the domains out, for a terminal.
        lowest_is_best: heads among the further figures whose lowest value is bold.
        note: one line below.

    Raises:
        ConfigError: no rows, or no row of that source.
    """
    ordered = _source_first(rows, source)
    domains = domains_of({row.name: row.error_by_domain for row in ordered}) if by_domain else []
    heads = list(dict.fromkeys(head for row in ordered for head in row.further))
    columns = ("method", *domains, "mean", "against source", *heads)
    cells = [_cells(row, domains, heads) for row in ordered]
    compared = {*range(1, len(domains) + 3), *(columns.index(head) for head in heads if head in lowest_is_best)}
    strong = frozenset((row, column) for column in compared for row in _best([line[column] for line in cells]))
    return Table(title, columns, cells, note, strong)


def comparison_table(
    a: Sequence[MethodRow],
    b: Sequence[MethodRow],
    *,
    names: tuple[str, str] = ("A", "B"),
    further: Sequence[str] = (),
    changes: Mapping[str, Difference] | None = None,
    title: str = "Top-1 error of two runs (%)",
    note: str = "",
) -> Table:
    """Two runs of a benchmark: a row for each method of either, with the change from the first to the second.

    Args:
        a, b: the rows of both; a method that one of them lacks has missing figures there.
        names: what heads call them.
        further: heads among the further figures that are shown of both.
        changes: with intervals by method, where both saw the same frames; others are taken from the means.
        title: one line above.
        note: one line below.

    Raises:
        ConfigError: no rows in both.
    """
    if not a and not b:
        raise ConfigError("there is nothing to compare: both runs have no method; run the benchmark first")
    first, second = ({row.name: row for row in rows} for rows in (a, b))
    columns = ["method", *(f"mean, {name}" for name in names), "change", "largest change in a domain"]
    columns += [f"{head}, {name}" for head in further for name in names]
    cells = []
    for method in dict.fromkeys([*first, *second]):
        pair = [rows.get(method, MethodRow(method, {}, _NO_SPREAD)) for rows in (first, second)]
        means = Difference(pair[1].error.mean - pair[0].error.mean, math.nan, math.nan)
        change = (changes or {}).get(method, means)
        figures = [row.further.get(head, math.nan) for head in further for row in pair]
        cells.append((method, *(row.error for row in pair), change, _largest_change(*pair), *figures))
    return Table(title, columns, cells, note)


def _source_first(rows: Sequence[MethodRow], source: str | None) -> list[MethodRow]:
    if not rows:
        raise ConfigError("there is no method to show: expected at least one row; run one first")
    if source is not None and all(row.name != source for row in rows):
        raise ConfigError(
            f"no row of the source {source!r}; expected one of {', '.join(row.name for row in rows)}"
        )
    return sorted(rows, key=lambda row: row.name != source) if source is not None else list(rows)


def _cells(row: MethodRow, domains: Sequence[str], heads: Sequence[str]) -> list[Cell]:
    errors = [Percent(row.error_by_domain.get(domain, math.nan)) for domain in domains]
    difference = row.difference if row.difference is not None else math.nan
    return [row.name, *errors, row.error, difference, *(row.further.get(head, math.nan) for head in heads)]


def _best(column: Sequence[Cell]) -> list[int]:
    """Rows of the lowest number and of those that look the same; none where every number does."""
    values = {row: value for row, cell in enumerate(column) if math.isfinite(value := _value(cell))}
    if not values:
        return []
    lowest = _look(column[min(values, key=lambda row: values[row])])
    best = [row for row in values if _look(column[row]) == lowest]
    return best if len(best) < len(values) else []


def _value(cell: Cell) -> float:
    """The number by which cells of a column are compared; NaN for text."""
    if isinstance(cell, str):
        return math.nan
    if isinstance(cell, Spread):
        return cell.mean
    return cell.points if isinstance(cell, Difference) else float(cell)


def _look(cell: Cell) -> str:
    """The number as shown, without its spread or interval."""
    return format_cell(Percent(_value(cell)) if isinstance(cell, (Spread, Difference)) else cell)


def _largest_change(a: MethodRow, b: MethodRow) -> str:
    changes = {
        domain: b.error_by_domain[domain] - error
        for domain, error in a.error_by_domain.items()
        if math.isfinite(error) and math.isfinite(b.error_by_domain.get(domain, math.nan))
    }
    if not changes:
        return MISSING
    domain = max(changes, key=lambda name: abs(changes[name]))
    return f"{domain} {format_cell(Difference(changes[domain], math.nan, math.nan))}"
