"""Running error over a stream: a panel for each method, with the source behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from moase_edge.errors import ConfigError
from moase_edge.metrics.trace import TracePoints
from moase_edge.report.bands import Band, bands_of, draw_strip, frame_range, shade
from moase_edge.report.canvas import TEXT_COLOUR, dress, label, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_PANEL_IN = 1.45
# Blue and vermilion of Okabe and Ito: apart for all readers.
_BETTER, _WORSE, _REFERENCE = "#0072B2", "#D55E00", "#59636E"


def draw_error_over_time(
    series: Mapping[str, TracePoints], *, marks: Sequence[tuple[float, str]] = (), title: str
) -> Figure:
    """Running error over the stream: a panel for each method, with the first one, the source, behind it.

    Args:
        series: error in percent over frame index, by method; `running_error` gives it.
        marks: the frame at which each domain begins, and its name; drawn as bands.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, or no matplotlib.
    """
    if not any(len(points.x) for points in series.values()):
        raise ConfigError("there is no error to plot: expected at least one series; run on labelled frames")
    reference, *methods = series
    shown = methods or [reference]
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(title, height_in=1.3 + _PANEL_IN * max(rows, 2) + (0.9 if marks else 0))
    frames = frame_range(series.values(), marks)
    bands = bands_of(marks, frames)
    strips, panels = _grid(figure, rows, columns, len(shown), with_strips=bool(marks))
    top = max(1.0, *(float(points.high.max()) for points in series.values() if len(points.x)))
    for place, (ax, name) in enumerate(zip(panels, shown, strict=True)):
        _draw_panel(ax, name, series[name], series[reference] if methods else None, bands)
        ax.set_xlim(frames)
        ax.set_ylim(0, 1.04 * top)
        _label_edges(ax, left=place % columns == 0, bottom=place + columns >= len(shown))
    for strip in strips:
        strip.set_xlim(frames)
    hidden = _name_domains(strips, bands)
    if hidden:
        panels[-1].set_xlabel(f"frame (only {len(bands) - hidden} of {len(bands)} domains are named)", fontsize=9)
    if methods:
        _add_legend(figure, methods[0] if len(methods) == 1 else "the panel's method", reference)
    return figure


def _grid(
    figure: Figure, rows: int, columns: int, count: int, *, with_strips: bool
) -> tuple[list[Axes], list[Axes]]:
    """The strips of the first row, and the panels row by row."""
    heights = [*([0.06] if with_strips else []), *[1.0] * rows]
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    first = len(heights) - rows
    strips = [figure.add_subplot(grid[0, column]) for column in range(columns if with_strips else 0)]
    places = [divmod(place, columns) for place in range(count)]
    return strips, [figure.add_subplot(grid[first + row, column]) for row, column in places]


def _name_domains(strips: Sequence[Axes], bands: Sequence[Band]) -> int:
    """The same names over each column; how many had no room."""
    hidden = [draw_strip(strip, bands) for strip in strips]
    for strip in strips[:-1]:
        # Slanted names narrow the panels, so that the last strip knows best how many fit.
        names = strips[-1].get_xticklabels()
        strip.set_xticks(
            strips[-1].get_xticks(),
            [name.get_text() for name in names],
            rotation=names[0].get_rotation(),
            rotation_mode=names[0].get_rotation_mode(),
            ha=names[0].get_horizontalalignment(),
        )
    return hidden[-1] if hidden else 0


def _draw_panel(
    ax: Axes, name: str, points: TracePoints, reference: TracePoints | None, bands: Sequence[Band]
) -> None:
    dress(ax, title=label(name, 44))
    ax.grid(False, axis="x")
    shade(ax, bands)
    if not len(points.x):
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", va="center", color=TEXT_COLOUR)
        return
    if reference is not None and len(reference.x):
        behind = np.interp(points.x, reference.x, reference.mean)
        for worse, colour in ((False, _BETTER), (True, _WORSE)):
            where = (points.mean > behind) == worse
            ax.fill_between(
                points.x, points.mean, behind, where=where, interpolate=True, color=colour, alpha=0.3, linewidth=0
            )
        ax.plot(reference.x, reference.mean, color=_REFERENCE, linewidth=1.0)
    marker = "." if len(points.x) == 1 else None
    ax.plot(points.x, points.mean, color="black", linewidth=1.2, marker=marker)


def _label_edges(ax: Axes, *, left: bool, bottom: bool) -> None:
    """Numbers and names on the outer axes alone."""
    ax.tick_params(labelleft=left, labelbottom=bottom)
    if left:
        ax.set_ylabel("error (%)", fontsize=9, color=TEXT_COLOUR)
    if bottom:
        ax.set_xlabel("frame", fontsize=9, color=TEXT_COLOUR)


def _add_legend(figure: Figure, method: str, reference: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    name = label(reference)
    handles = [
        Line2D([], [], color="black", linewidth=1.2, label=label(method)),
        Line2D([], [], color=_REFERENCE, linewidth=1.0, label=name),
        Patch(color=_BETTER, alpha=0.3, linewidth=0, label=f"better than {name}"),
        Patch(color=_WORSE, alpha=0.3, linewidth=0, label=f"worse than {name}"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), fontsize=9, frameon=False)
