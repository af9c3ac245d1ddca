from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from moase_edge.errors import ConfigError
from moase_edge.metrics.bootstrap import Difference
from moase_edge.metrics.spread import Spread
from moase_edge.report.method_tables import MethodRow, comparison_table, method_table
from moase_edge.report.tables import MISSING, Cell, Table, format_cell, to_rich


def row(name: str, errors: dict[str, float], difference: Difference | None = None, **further: Cell) -> MethodRow:
    mean = sum(errors.values()) / len(errors)
    return MethodRow(name, errors, Spread(mean, 0.5, 3), difference, further)


SOURCE = row("source", {"fog": 60.0, "snow": 40.0}, None, ms=5.0, updates=0)
OURS = row("ours", {"fog": 50.0, "snow": 41.0}, Difference(-4.5, -6.0, -3.0), ms=6.0, updates=9)


def texts(table: Table) -> list[list[str]]:
    return [[format_cell(cell) for cell in line] for line in table.rows]


def strong(table: Table) -> set[tuple[str, str]]:
    """Method and head of each bold cell."""
    return {(str(table.rows[line][0]), table.columns[column]) for line, column in table.strong}


def test_a_row_has_domains_mean_difference_and_further_figures() -> None:
    table = method_table([SOURCE, OURS], title="t", note="n")
    assert table.columns == ("method", "fog", "snow", "mean", "against source", "ms", "updates")
    assert texts(table) == [
        ["source", "60.0", "40.0", "50.0 ± 0.5", MISSING, "5.00", "0"],
        ["ours", "50.0", "41.0", "45.5 ± 0.5", "-4.5 [-6.0, -3.0]", "6.00", "9"],
    ]
    assert (table.title, table.note) == ("t", "n")


def test_the_source_comes_first_and_the_others_keep_their_order() -> None:
    rows = [row(name, {"fog": 1.0}) for name in ("b", "a", "source", "c")]
    assert [line[0] for line in method_table(rows, title="t", source="source").rows] == ["source", "b", "a", "c"]
    assert [line[0] for line in method_table(rows, title="t").rows] == ["b", "a", "source", "c"]


def test_the_lowest_error_of_a_column_is_bold_and_of_the_further_figures_those_asked_for() -> None:
    table = method_table([SOURCE, OURS], title="t", lowest_is_best=["ms"])
    assert strong(table) == {("ours", "fog"), ("source", "snow"), ("ours", "mean"), ("source", "ms")}


def test_what_looks_the_same_is_equally_bold_and_nothing_where_all_do() -> None:
    rows = [row("a", {"fog": 50.01, "snow": 40.0}), row("b", {"fog": 49.99, "snow": 40.0})]
    rows.append(row("c", {"fog": 60.0, "snow": 40.0}))
    assert strong(method_table(rows, title="t")) == {("a", "fog"), ("b", "fog"), ("a", "mean"), ("b", "mean")}


def test_the_largest_gain_on_the_source_is_bold() -> None:
    rows = [
        SOURCE,
        *(row(name, {"fog": 1.0}, Difference(points, -9, 9)) for name, points in [("a", -1), ("b", 2)]),
    ]
    assert ("a", "against source") in strong(method_table(rows, title="t"))
    assert ("b", "against source") not in strong(method_table(rows, title="t"))


def test_missing_figures_are_shown_as_missing_and_never_bold() -> None:
    rows = [SOURCE, MethodRow("failed", {"fog": math.nan}, Spread(math.nan, math.nan, 3))]
    table = method_table(rows, title="t", lowest_is_best=["ms"])
    assert texts(table)[1] == ["failed", *[MISSING] * 6]
    assert strong(table) == set()


def test_without_domains_the_table_of_13_methods_fits_a_terminal_of_100_columns() -> None:
    rows = [row(f"a method with a long name {i}", {"fog": 99.0 + i}, Difference(-10, -12, -8)) for i in range(13)]
    stream = io.StringIO()
    Console(file=stream, width=100).print(to_rich(method_table(rows, title="t", by_domain=False)))
    assert "…" not in stream.getvalue()
    assert "-10.0 [-12.0, -8.0]" in stream.getvalue()
    assert "fog" not in stream.getvalue()


def test_no_rows_and_an_unknown_source_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one row"):
        method_table([], title="t")
    with pytest.raises(ConfigError, match="'frozen'; expected one of source, ours"):
        method_table([SOURCE, OURS], title="t", source="frozen")


def test_two_runs_are_compared_method_by_method() -> None:
    later = row("ours", {"fog": 52.0, "snow": 38.0}, ms=7.0)
    table = comparison_table([SOURCE, OURS], [SOURCE, later], names=("old", "new"), further=["ms"])
    assert table.columns[:4] == ["method", "mean, old", "mean, new", "change"]
    assert table.columns[5:] == ["ms, old", "ms, new"]
    assert texts(table) == [
        ["source", "50.0 ± 0.5", "50.0 ± 0.5", "0.0", "fog 0.0", "5.00", "5.00"],
        ["ours", "45.5 ± 0.5", "45.0 ± 0.5", "-0.5", "snow -3.0", "6.00", "7.00"],
    ]


def test_a_method_or_domain_of_one_run_alone_is_shown_as_missing() -> None:
    table = comparison_table([SOURCE], [OURS, row("source", {"night": 50.0})])
    assert texts(table) == [
        ["source", "50.0 ± 0.5", "50.0 ± 0.5", "0.0", MISSING],
        ["ours", MISSING, "45.5 ± 0.5", MISSING, MISSING],
    ]


def test_a_change_with_an_interval_stands_in_for_the_difference_of_the_means() -> None:
    """Paired over frames it need not be what the means over seeds differ by."""
    changes = {"ours": Difference(-0.75, -1.5, -0.25), "gone": Difference(1.0, 1.0, 1.0)}
    table = comparison_table([SOURCE, OURS], [SOURCE, OURS], changes=changes)
    assert [(line[0], line[3]) for line in texts(table)] == [("source", "0.0"), ("ours", "-0.8 [-1.5, -0.2]")]


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        comparison_table([], [])
