"""What adaptation did over a run: one panel for each series, domains as bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from moase_edge.errors import ConfigError
from moase_edge.metrics.trace import TracePoints
from moase_edge.report.bands import bands_of, draw_strip, frame_range, shade
from moase_edge.report.canvas import TEXT_COLOUR, draw_trace, dress, label, line_styles, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_SMALLEST_PLAIN, _LARGEST_PLAIN = 0.01, 1e5


def draw_adaptation(
    series: Mapping[str, TracePoints], *, marks: Sequence[tuple[float, str]] = (), title: str
) -> Figure:
    """One panel for each series, all over the same frames.

    Args:
        series: values over frame index, by label; the label carries the unit, as in `entropy (nats)`.
        marks: the frame at which each domain begins, and its name; drawn as bands.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
    """
    if not series:
        raise ConfigError("there is no series to plot: expected at least one; record one first")
    figure = new_figure(title, height_in=1.2 + 1.6 * len(series) + (0.8 if marks else 0))
    panels = _panels(figure, len(series), with_strip=bool(marks))
    strip = panels.pop(0) if marks else None
    frames = frame_range(series.values(), marks)
    bands = bands_of(marks, frames)
    styles = line_styles(series)
    for ax, (name, points) in zip(panels, series.items(), strict=True):
        _draw_series(ax, name, points, styles[name]["color"])
        shade(ax, bands)
        ax.set_xlim(frames)
    panels[-1].tick_params(axis="x", labelbottom=True)
    hidden = 0
    if strip is not None:
        strip.set_xlim(frames)
        hidden = draw_strip(strip, bands)
    note = f" (only {len(bands) - hidden} of {len(bands)} domains are named)" if hidden else ""
    panels[-1].set_xlabel(f"frame{note}", fontsize=10, color=TEXT_COLOUR)
    return figure


def _in_readable_units(points: TracePoints) -> tuple[TracePoints, int]:
    """Very small or large values over a power of ten, and that power for the title; 0 for all others."""
    largest = float(np.abs([points.low, points.high]).max(initial=0.0))
    if largest == 0.0 or _SMALLEST_PLAIN <= largest < _LARGEST_PLAIN:
        return points, 0
    power = math.floor(math.log10(largest))
    unit = 10.0**power
    return TracePoints(points.x, points.mean / unit, points.low / unit, points.high / unit, points.count), power


def _panels(figure: Figure, count: int, *, with_strip: bool) -> list[Axes]:
    heights = [*([0.06] if with_strip else []), *[1.0] * count]
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    return [figure.add_subplot(grid[row]) for row in range(len(heights))]


def _draw_series(ax: Axes, name: str, points: TracePoints, colour: str) -> None:
    points, power = _in_readable_units(points)
    dress(ax, title=label(name, 80) + (f", in units of 1e{power}" if power else ""))
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.tick_params(axis="x", labelbottom=False)
    if len(points.x):
        draw_trace(ax, points, {"color": colour}, label(name))
        ax.margins(y=0.08)
    else:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", va="center", color=TEXT_COLOUR)
