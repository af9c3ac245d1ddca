"""Top-1 error by domain: runs beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import ConfigError
from moase_edge.report.canvas import TEXT_COLOUR, add_legend, dress, label, line_styles, new_figure, write_names
from moase_edge.report.tables import domains_of, mean_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GROUP_WIDTH = 0.8
_VALUE_PT = 8
# The colours come again with the second dash: bars, which have no dash, get a pattern.
_HATCHES = {"-": "", "--": "/////", ":": ".....", "-.": "xxxxx"}


def draw_errors_by_domain(series: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """Top-1 error by domain as grouped bars, a colour for each run.

    Args:
        series: error in percent by domain, by name of the run; a domain that a run lacks gets no bar.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
    """
    domains = domains_of(series)
    if not domains:
        raise ConfigError("there is no domain to plot: expected the error of at least one; run on labelled frames")
    figure = new_figure(title, height_in=4.8)
    ax = figure.subplots()
    dress(ax, y_label="top-1 error (%)")
    ax.grid(False, axis="x")
    ax.set_xlim(-0.6, len(domains) - 0.4)
    ax.set_ylim(0, _top(series))
    width = _GROUP_WIDTH / len(series)
    with_values = len(domains) * len(series) <= _room_for_values(figure)
    for place, (name, style) in enumerate(line_styles(series).items()):
        shift = (place + 0.5) * width - _GROUP_WIDTH / 2
        bars = _bars(domains, series[name], shift)
        legend = f"{label(name)}: mean {mean_error(series[name]):.1f} %"
        ax.bar(bars[:, 0], bars[:, 1], width=0.92 * width, label=legend, **_look(style))
        if with_values:
            _write_values(ax, bars)
    add_legend(figure, ax)
    hidden = write_names(ax, range(len(domains)), domains)
    if hidden:
        ax.set_xlabel(
            f"only {len(domains) - hidden} of {len(domains)} domains are named", fontsize=9, color=TEXT_COLOUR
        )
    return figure


def _look(style: Mapping[str, Any]) -> dict[str, Any]:
    """Of the bars of a run that would have lines of this style."""
    return {
        "color": style["color"],
        "hatch": _HATCHES[style["linestyle"]],
        "edgecolor": "white",
        "linewidth": 0,
    }


def _bars(domains: Sequence[str], errors: Mapping[str, float], shift: float) -> NDArray[np.float64]:
    """(n, 2): centre and height of each bar; a missing error has none."""
    found = [(place + shift, errors.get(domain, math.nan)) for place, domain in enumerate(domains)]
    return np.array([bar for bar in found if math.isfinite(bar[1])], dtype=np.float64).reshape(-1, 2)


def _write_values(ax: Axes, bars: NDArray[np.float64]) -> None:
    for centre, height in bars:
        ax.annotate(
            f"{height:.1f}",
            (centre, height),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=_VALUE_PT,
            color=TEXT_COLOUR,
        )


def _room_for_values(figure: Figure) -> float:
    """How many bars can carry a value such as 43.2 over their own width."""
    value_in = 2.3 * _VALUE_PT / 72
    return 0.9 * float(figure.get_figwidth()) * _GROUP_WIDTH / value_in


def _top(series: Mapping[str, Mapping[str, float]]) -> float:
    """Upper end of the axis, with room for the values over the bars."""
    finite = [error for errors in series.values() for error in errors.values() if math.isfinite(error)]
    return 1.12 * max([*finite, 1.0])
