"""What adaptation did over a run: one panel for each series, domains as bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from moase_edge.errors import ConfigError
from moase_edge.metrics.trace import TracePoints
from moase_edge.report.canvas import TEXT_COLOUR, draw_trace, dress, label, line_styles, new_figure, write_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAND_COLOURS = ("#E9EDF1", "#FFFFFF")
_STRIP_COLOURS = ("#8C98A4", "#D5DADF")

Band = tuple[float, float, str]


def draw_adaptation(
    series: Mapping[str, TracePoints], *, marks: Sequence[tuple[float, str]] = (), title: str
) -> Figure:
    """The figure that `plot_adaptation` saves."""
    if not series:
        raise ConfigError("there is no series to plot: expected at least one; record one first")
    figure = new_figure(title, height_in=1.2 + 1.6 * len(series) + (0.8 if marks else 0))
    panels = _panels(figure, len(series), with_strip=bool(marks))
    strip = panels.pop(0) if marks else None
    frames = _frame_range(series, marks)
    bands = _bands(marks, frames)
    styles = line_styles(series)
    for ax, (name, points) in zip(panels, series.items(), strict=True):
        _draw_series(ax, name, points, styles[name]["color"])
        _shade(ax, bands, _BAND_COLOURS)
        ax.set_xlim(frames)
    panels[-1].tick_params(axis="x", labelbottom=True)
    hidden = 0
    if strip is not None:
        strip.set_xlim(frames)
        hidden = _draw_strip(strip, bands)
    note = f" (only {len(bands) - hidden} of {len(bands)} domains are named)" if hidden else ""
    panels[-1].set_xlabel(f"frame{note}", fontsize=10, color=TEXT_COLOUR)
    return figure


def _panels(figure: Figure, count: int, *, with_strip: bool) -> list[Axes]:
    heights = [*([0.06] if with_strip else []), *[1.0] * count]
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    return [figure.add_subplot(grid[row]) for row in range(len(heights))]


def _draw_series(ax: Axes, name: str, points: TracePoints, colour: str) -> None:
    dress(ax, title=label(name, 90))
    ax.tick_params(axis="x", labelbottom=False)
    if len(points.x):
        draw_trace(ax, points, {"color": colour}, label(name))
        ax.margins(y=0.08)
    else:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", va="center", color=TEXT_COLOUR)


def _draw_strip(strip: Axes, bands: Sequence[Band]) -> int:
    """Names over a thin strip in the stripes of the panels, where they cover no curve; how many had no room."""
    dress(strip)
    strip.grid(False)
    strip.set_yticks([])
    for spine in strip.spines.values():
        spine.set_visible(False)
    _shade(strip, bands, _STRIP_COLOURS)
    centres = [(start + end) / 2 for start, end, _ in bands]
    return write_names(strip, centres, [name for *_, name in bands], top=True)


def _shade(ax: Axes, bands: Sequence[Band], colours: tuple[str, str]) -> None:
    for number, (start, end, _) in enumerate(bands):
        ax.axvspan(start, end, color=colours[number % 2], linewidth=0, zorder=0)


def _bands(marks: Sequence[tuple[float, str]], frames: tuple[float, float]) -> list[Band]:
    """Start, end and name of each domain, in the order of the frames."""
    begins = sorted(marks, key=lambda mark: mark[0])
    ends = [*(start for start, _ in begins), frames[1]][1:]
    return [(start, end, name) for (start, name), end in zip(begins, ends, strict=True) if start < end]


def _frame_range(series: Mapping[str, TracePoints], marks: Sequence[tuple[float, str]]) -> tuple[float, float]:
    ends = [float(x) for points in series.values() if len(points.x) for x in (points.x[0], points.x[-1])]
    frames = ends + [start for start, _ in marks]
    first, last = min(frames, default=0.0), max(frames, default=0.0)
    return (first, last) if first < last else (first - 0.5, last + 0.5)
