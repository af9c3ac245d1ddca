"""Differences with their intervals as points one under the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from moase_edge.errors import ConfigError
from moase_edge.report.canvas import TEXT_COLOUR, dress, label, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BETTER, _WORSE, _OPEN = "#0072B2", "#D55E00", "#808080"


def draw_intervals(points: Mapping[str, tuple[float, float, float]], *, x_label: str, title: str) -> Figure:
    """Differences as points one under the other, with the interval as a bar and a line at zero.

    Args:
        points: value, low and high end of its interval, by name; NaN ends for none.
        x_label: with the unit.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
    """
    if not points:
        raise ConfigError("there is no difference to plot: expected at least one; run the experiment first")
    figure = new_figure(title, height_in=1.6 + 0.45 * len(points))
    ax = figure.subplots()
    dress(ax, x_label=x_label)
    ax.axvline(0, color=TEXT_COLOUR, linewidth=1.0)
    for place, (value, low, high) in enumerate(points.values()):
        colour = colour_of(low, high)
        if math.isfinite(low) and math.isfinite(high):
            ax.hlines(place, low, high, color=colour, linewidth=2.0, alpha=0.7)
        ax.plot(value, place, marker="o", markersize=7, color=colour, linestyle="")
    ax.set_yticks(range(len(points)), [label(name) for name in points])
    ax.set_ylim(len(points) - 0.5, -0.5)
    ax.set_title("blue: better, orange: worse, grey: the interval holds zero", loc="left", fontsize=9)
    return figure


def colour_of(low: float, high: float) -> str:
    """Blue where the whole interval lies below zero, orange where it lies above, else grey."""
    if high < 0:
        return _BETTER
    return _WORSE if low > 0 else _OPEN
