"""Curves with bands, and differences with intervals."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image

from moase_edge.errors import ConfigError
from moase_edge.report.curves_figure import Curve, draw_curves
from moase_edge.report.interval_figure import draw_intervals
from moase_edge.report.plots import plot_curves, plot_intervals

CURVE = Curve([2.0, 4.0, 8.0], [-1.0, -2.0, -1.5], [-2.0, -3.0, -2.5], [0.0, -1.0, -0.5])


def test_curves_show_their_values_and_bands_at_the_places_that_were_measured() -> None:
    figure = draw_curves(
        {"one": {"a": CURVE, "b": CURVE._replace(y=[0.0, 0.5, 1.0])}, "two": {"a": CURVE}},
        x_label="experts",
        y_label="points",
        title="t",
        logarithmic=True,
        level=0.0,
    )
    first, second = figure.axes
    lines = {line.get_label(): line for line in first.get_lines()}
    assert list(lines["b"].get_ydata()) == [0.0, 0.5, 1.0]
    assert lines["a"].get_color() == {line.get_label(): line for line in second.get_lines()}["a"].get_color()
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["2", "4", "8"]
    (band,) = second.collections
    assert band.get_paths()[0].get_extents().bounds == pytest.approx((2.0, -3.0, 6.0, 3.0))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_intervals_are_coloured_by_the_side_of_zero_on_which_they_lie_whole() -> None:
    points = {
        "better": (-1.0, -2.0, -0.5),
        "open": (0.5, -0.5, 1.5),
        "worse": (2.0, 1.0, 3.0),
        "no interval": (0.0, math.nan, math.nan),
    }
    figure = draw_intervals(points, x_label="points", title="t")
    (ax,) = figure.axes
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == [-1.0, 0.5, 2.0, 0.0]
    assert len({dot.get_color() for dot in dots}) == 3
    assert dots[1].get_color() == dots[3].get_color()
    assert len(ax.collections) == 3
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(points)


def test_pictures_are_written_and_nothing_is_refused(tmp_path: Path) -> None:
    plot_curves(tmp_path / "curves.png", {"": {"a": CURVE}}, x_label="x", y_label="y", title="t")
    plot_intervals(tmp_path / "intervals.png", {"a": (0.0, -1.0, 1.0)}, x_label="x", title="t")
    for name in ("curves", "intervals"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width == 1800
    with pytest.raises(ConfigError, match="no curve"):
        draw_curves({}, x_label="x", y_label="y", title="t")
    with pytest.raises(ConfigError, match="no difference"):
        draw_intervals({}, x_label="x", title="t")
