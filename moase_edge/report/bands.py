"""Domains of a stream as bands behind the curves, with their names over a strip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from moase_edge.metrics.trace import TracePoints
from moase_edge.report.canvas import dress, write_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAND_COLOURS = ("#E9EDF1", "#FFFFFF")
_STRIP_COLOURS = ("#8C98A4", "#D5DADF")

Band = tuple[float, float, str]
"""Begin and end on the x axis, and name."""


def bands_of(marks: Sequence[tuple[float, str]], frames: tuple[float, float]) -> list[Band]:
    """The domains in the order of the frames, from where each begins and its name; the last ends with `frames`."""
    begins = sorted(marks, key=lambda mark: mark[0])
    ends = [*(start for start, _ in begins), frames[1]][1:]
    return [(start, end, name) for (start, name), end in zip(begins, ends, strict=True) if start < end]


def frame_range(series: Iterable[TracePoints], marks: Sequence[tuple[float, str]]) -> tuple[float, float]:
    """First and last frame of all curves and marks, apart even where there is just one."""
    ends = [float(x) for points in series if len(points.x) for x in (points.x[0], points.x[-1])]
    frames = ends + [start for start, _ in marks]
    first, last = min(frames, default=0.0), max(frames, default=0.0)
    return (first, last) if first < last else (first - 0.5, last + 0.5)


def shade(ax: Axes, bands: Sequence[Band]) -> None:
    """Every other band behind the curves in a pale grey."""
    _fill(ax, bands, _BAND_COLOURS)


def draw_strip(strip: Axes, bands: Sequence[Band]) -> int:
    """Names over a thin strip in the stripes of the panels, where they cover no curve.

    Args:
        strip: a low and otherwise empty panel whose x limits are set.
        bands: what is named.

    Returns:
        How many names had no room.
    """
    dress(strip)
    strip.grid(False)
    strip.set_yticks([])
    for spine in strip.spines.values():
        spine.set_visible(False)
    _fill(strip, bands, _STRIP_COLOURS)
    centres = [(start + end) / 2 for start, end, _ in bands]
    return write_names(strip, centres, [name for *_, name in bands], top=True)


def _fill(ax: Axes, bands: Sequence[Band], colours: tuple[str, str]) -> None:
    for number, (start, end, _) in enumerate(bands):
        ax.axvspan(start, end, color=colours[number % 2], linewidth=0, zorder=0)
