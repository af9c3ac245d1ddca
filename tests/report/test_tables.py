from __future__ import annotations

import io
import math
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from moase_edge.errors import ConfigError
from moase_edge.metrics.bootstrap import Difference
from moase_edge.metrics.latency import LatencyHistogram, LatencyProfile
from moase_edge.metrics.spread import Spread
from moase_edge.report.tables import (
    Cell,
    Percent,
    Table,
    error_rows,
    format_cell,
    latency_rows,
    to_html,
    to_markdown,
    to_rich,
)

TABLE = Table("T", ("name", "ms"), [("a|b", 12.3456), ("<c>", math.nan)], "one & two")


def on_terminal(table: Table, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(to_rich(table))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (12.3456, "12.35"),
        (1234567.891, "1,234,567.89"),
        (1.0, "1.00"),
        (0.99999, "1.00"),
        (0.12345, "0.123"),
        (0.0999999, "0.100"),
        (0.00123456, "0.00123"),
        (1.23456e-7, "1.23e-07"),
        (0.0, "0.00"),
        (-0.05, "-0.0500"),
        (math.nan, "–"),  # noqa: RUF001
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (1234, "1,234"),
        (True, "yes"),
        ("1234.5678", "1234.5678"),
        (np.float32(2.5), "2.50"),
        (np.int64(5000), "5,000"),
        (Percent(61.25), "61.2"),
        (Percent(0.04), "0.0"),
        (Percent(math.nan), "–"),  # noqa: RUF001
        (Spread(61.31, 0.44, 3), "61.3 ± 0.4"),
        (Spread(61.31, math.nan, 1), "61.3"),
        (Spread(math.nan, math.nan, 3), "–"),  # noqa: RUF001
        (Difference(-3.21, -4.5, 1.94), "-3.2 [-4.5, +1.9]"),
        (Difference(0.0, -0.04, 0.05), "0.0 [0.0, +0.1]"),
        (Difference(2.0, math.nan, math.nan), "+2.0"),
        (Difference(math.nan, math.nan, math.nan), "–"),  # noqa: RUF001
    ],
)
def test_cells_are_formatted_by_one_rule(cell: Cell, text: str) -> None:
    assert format_cell(cell) == text


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_formatted_numbers_keep_three_digits_or_two_decimals(value: float) -> None:
    shown = float(format_cell(value).replace(",", ""))
    assert abs(shown - value) <= max(0.0051 * min(value, 1.0), 1e-7 * value) + 1e-12


def test_markdown_escapes_cells_and_aligns_numbers_right() -> None:
    assert to_markdown(TABLE) == (
        "**T**\n\n| name | ms |\n|---|---:|\n| a\\|b | 12.35 |\n| \\<c> | – |\n\none & two\n"  # noqa: RUF001
    )


def test_html_escapes_everything_and_marks_numbers() -> None:
    html = to_html(Table("<T>", ("a&b", "ms"), [("<script>", 1.0)], "<note>"))
    assert "<script>" not in html
    assert '<tr><td>&lt;script&gt;</td><td class="number">1.00</td></tr>' in html
    assert '<th scope="col">a&amp;b</th><th class="number" scope="col">ms</th>' in html
    assert "<caption>&lt;T&gt;</caption>" in html
    assert "&lt;note&gt;" in html


@given(st.text(), st.text(), st.text())
def test_html_shows_any_text_as_it_is(title: str, head: str, cell: str) -> None:
    class Reader(HTMLParser):
        tags: list[str]
        text = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)

        def handle_data(self, data: str) -> None:
            self.text += data

    reader = Reader()
    reader.tags = []
    reader.feed(to_html(Table(title, (head,), [(cell,)])))
    reader.close()
    assert reader.tags == ["table", "caption", "thead", "tr", "th", "tbody", "tr", "td"]


def test_terminal_shows_brackets_as_text_and_numbers_right_aligned() -> None:
    lines = on_terminal(Table("[bold]T[/bold]", ("name", "ms"), [("[red]x", 1.0), ("y", 100.0)])).splitlines()
    assert "[bold]T[/bold]" in lines[0]
    first, second = (line.rstrip() for line in lines if "1.00" in line or "100.00" in line)
    assert "[red]x" in first
    assert len(first) == len(second)


def test_strong_cells_are_bold_in_every_form_and_still_escaped() -> None:
    table = Table("T", ("name", "error"), [("a*", Spread(1, 2, 3)), ("<b>", 2.0)], strong={(0, 1), (1, 0)})
    assert to_markdown(table).splitlines()[4:] == ["| a\\* | **1.0 ± 2.0** |", "| **\\<b>** | 2.00 |"]
    assert '<td class="number"><strong>1.0 ± 2.0</strong></td>' in to_html(table)
    assert "<strong>&lt;b&gt;</strong>" in to_html(table)
    bold = [[text.style for text in column.cells] for column in to_rich(table).columns]  # type: ignore[union-attr]
    assert bold == [["", "bold"], ["bold", ""]]


def test_spreads_and_differences_are_numbers() -> None:
    table = Table("T", ("a", "b", "c"), [(Percent(1), Spread(1, 2, 3), Difference(1, 0, 2))])
    assert table.numeric_columns() == [True, True, True]


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 cells; expected 2"):
        Table("T", ("a", "b"), [("x",)])


def test_latency_rows_hold_the_summaries_in_order_with_share_in_percent() -> None:
    profile = LatencyProfile()
    profile.add("engine", 5.0)
    profile.add("total", 20.0)
    table = latency_rows(profile.summaries(), profile.shares())
    assert table.columns[-1] == "share %"
    assert [row[0] for row in table.rows] == ["engine", "total"]
    assert list(table.rows[0][1:]) == [1, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 25.0]


def test_a_stage_without_share_or_frames_shows_missing_numbers() -> None:
    table = latency_rows({"learn": LatencyHistogram().summary()}, {})
    assert [format_cell(cell) for cell in table.rows[0]] == ["learn", "0", *["–"] * 7]  # noqa: RUF001


def test_the_latency_table_fits_a_terminal_of_80_columns() -> None:
    profile = LatencyProfile()
    for ms in [0.0123] * 99 + [134.5]:
        profile.add("preprocess", ms)
        profile.add("total", ms)
    text = on_terminal(latency_rows(profile.summaries(), profile.shares()))
    assert "preprocess" in text
    assert "0.0123" in text
    assert "134.50" in text
    assert "…" not in text


def test_error_rows_have_a_column_for_each_run_and_the_mean_below() -> None:
    table = error_rows({"frozen": {"fog": 40.0, "snow": 60.0}, "adapting": {"snow": 30.0, "night": 10.0}})
    assert table.columns == ("domain", "frozen", "adapting")
    rows = [[format_cell(cell) for cell in row] for row in table.rows]
    assert rows == [
        ["fog", "40.00", "–"],  # noqa: RUF001
        ["snow", "60.00", "30.00"],
        ["night", "–", "10.00"],  # noqa: RUF001
        ["mean", "50.00", "20.00"],
    ]
