"""Curves with their intervals, in panels side by side that share the vertical axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from moase_edge.errors import ConfigError
from moase_edge.report.canvas import add_legend, dress, label, line_styles, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAND_ALPHA = 0.16


class Curve(NamedTuple):
    """Values over x, ascending.

    Attributes:
        x, y: of equal length.
        low, high: ends of an interval at each point; NaN where there is none.
    """

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def draw_curves(
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    x_label: str,
    y_label: str,
    title: str,
    logarithmic: bool = False,
    level: float | None = None,
) -> Figure:
    """Curves with a band for their interval; a panel for each group, a colour for each name in all of them.

    Args:
        panels: curves by name, by panel.
        x_label, y_label: with units.
        title: what was run.
        logarithmic: of the x axis.
        level: drawn as a dashed line across, such as zero or chance.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
    """
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    if not names:
        raise ConfigError("there is no curve to plot: expected at least one; run the experiment first")
    figure = new_figure(title, height_in=4.8)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    styles = line_styles(names)
    for place, (ax, (panel, curves)) in enumerate(zip(axes, panels.items(), strict=True)):
        dress(ax, x_label=x_label, y_label="" if place else y_label, title=label(panel, 80))
        if level is not None:
            ax.axhline(level, color="#808080", linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        for name, curve in curves.items():
            _draw(ax, curve, styles[name], name)
        _scale(ax, sorted({x for curve in curves.values() for x in curve.x}), logarithmic=logarithmic)
    add_legend(figure, max(axes, key=lambda ax: len(ax.get_legend_handles_labels()[0])))
    return figure


def _draw(ax: Axes, curve: Curve, style: Mapping[str, Any], name: str) -> None:
    colour = style["color"]
    ax.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=_BAND_ALPHA, linewidth=0)
    ax.plot(curve.x, curve.y, marker="o", markersize=5, linewidth=1.4, label=label(name), **style)


def _scale(ax: Axes, places: Sequence[float], *, logarithmic: bool) -> None:
    from matplotlib.ticker import NullFormatter

    if logarithmic:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(places, [f"{place:g}" for place in places])
