"""Names beside points of a scatter plot, where they cover neither each other nor a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from moase_edge.report.canvas import TEXT_COLOUR, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

Floats = NDArray[np.float64]
"""Pixels: points (..., 2), boxes (..., 4) as left, bottom, right, top."""

_TEXT_PT = 9
_MARKER_PT = 4.0
_BAR_PT = 1.5
_DISTANCES_PT = (7.0, 14.0, 24.0, 36.0, 52.0, 72.0, 96.0, 124.0, 156.0, 192.0)
_DIRECTIONS = tuple(math.radians(degrees) for degrees in range(0, 360, 20))
_LEADER_FROM_PT = 20.0
_PASSES = 5
# What a place costs: for each square pixel outside the axes, on a name or a point, on a bar; for each pixel of
# distance; for each name and each point that a line crosses. Found by looking at pictures.
_OUTSIDE, _COVERED, _ON_BAR, _PER_PX, _ACROSS_NAME, _ACROSS_POINT = 10.0, 2.0, 0.3, 3.0, 1500.0, 50.0


def write_beside_points(
    ax: Axes, names: Sequence[str], points: Sequence[tuple[float, float, float, float]]
) -> list[Annotation]:
    """Write each name near its point where it covers least, with a thin line to the point where it is far.

    Each name takes its best place while the others stay; after some rounds they rarely get in each other's way.

    Args:
        ax: its limits and scales are set.
        names: one for each point.
        points: x, y, and the lower and upper end of the bar through y, in data units.
    """
    figure = ax.get_figure(root=True)
    if figure is None or not names:
        return []
    figure.draw_without_rendering()
    px_per_pt = figure.dpi / 72
    notes = [_note(ax, name, point[:2]) for name, point in zip(names, points, strict=True)]
    ends = [ax.transData.transform([(x, y), (x, low), (x, high)]) for x, y, low, high in points]
    extent = ax.get_window_extent()
    crowd = _Crowd(
        frame=np.array([extent.x0, extent.y0, extent.x1, extent.y1]),
        markers=np.array([_around(end[:1], _MARKER_PT * px_per_pt) for end in ends]),
        bars=np.array([_around(end, _BAR_PT * px_per_pt) for end in ends]),
    )
    candidates = [_candidates(end[0], _size(note), px_per_pt) for end, note in zip(ends, notes, strict=True)]
    for note, place in zip(notes, _settle(candidates, crowd), strict=True):
        _move(note, place, px_per_pt)
    return notes


@dataclass(frozen=True, slots=True)
class _Place:
    """A box for a name, `distance_px` from its point."""

    point: Floats
    box: Floats
    distance_px: float
    line: Floats
    """Points along the line that joins both, (15, 2); (0, 2) where it is so near that there is none."""


@dataclass(frozen=True, slots=True)
class _Crowd:
    """What a name must stay clear of."""

    frame: Floats
    markers: Floats
    bars: Floats

    def harm(self, place: _Place, others: Sequence[_Place]) -> float:
        """What `place` costs, where the other names have their places."""
        width, height = place.box[2:] - place.box[:2]
        outside = float(width * height) - _shared(place.box, self.frame[None])
        names = np.array([other.box for other in others]).reshape(-1, 4)
        covered = _shared(place.box, names) + _shared(place.box, self.markers)
        across = _crossed(place.line, names) + sum(_crossed(other.line, place.box[None]) for other in others)
        return (
            _COVERED * covered
            + _OUTSIDE * outside
            + _ON_BAR * _shared(place.box, self.bars)
            + _PER_PX * place.distance_px
            + _ACROSS_NAME * across
            + _ACROSS_POINT * _crossed(place.line, self.markers)
        )


def _settle(candidates: Sequence[Sequence[_Place]], crowd: _Crowd) -> list[_Place]:
    """One place of each list."""
    places = [choice[0] for choice in candidates]
    for _ in range(_PASSES):
        before = list(places)
        for index, choice in enumerate(candidates):
            others = places[:index] + places[index + 1 :]
            harms = [crowd.harm(place, others) for place in choice]
            places[index] = choice[int(np.argmin(harms))]
        if all(place is earlier for place, earlier in zip(places, before, strict=True)):
            break
    return places


def _candidates(point: Floats, size: Floats, px_per_pt: float) -> list[_Place]:
    """Boxes all around a point, the nearest first, and of equally near ones that to its right."""
    places = []
    for distance_pt in _DISTANCES_PT:
        for direction in _DIRECTIONS:
            way = np.array([math.cos(direction), math.sin(direction)])
            centre = point + way * (distance_pt * px_per_pt + size / 2)
            box = np.concatenate([centre - size / 2, centre + size / 2])
            places.append(_Place(point, box, distance_pt * px_per_pt, _line(point, box, distance_pt)))
    return places


def _line(point: Floats, box: Floats, distance_pt: float) -> Floats:
    if distance_pt < _LEADER_FROM_PT:
        return np.empty((0, 2))
    nearest = np.clip(point, box[:2], box[2:])
    return point + np.linspace(0.0, 1.0, 15)[:, None] * (nearest - point)


def _around(points: Floats, margin_px: float) -> Floats:
    return np.concatenate([points.min(axis=0) - margin_px, points.max(axis=0) + margin_px])


def _shared(box: Floats, others: Floats) -> float:
    """Area of `box` that the others cover, each counted for itself, in square pixels."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(np.prod(np.maximum(sides, 0.0), axis=1).sum())


def _crossed(line: Floats, boxes: Floats) -> int:
    """How many of the boxes a point of the line lies in."""
    inside = (line[:, None] >= boxes[None, :, :2]) & (line[:, None] <= boxes[None, :, 2:])
    return int(inside.all(axis=2).any(axis=0).sum())


def _note(ax: Axes, name: str, point: Sequence[float]) -> Annotation:
    """The text on its point, for which the layout of the figure keeps no room."""
    from matplotlib.patheffects import withStroke

    leader = {"arrowstyle": "-", "color": TEXT_COLOUR, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 0, "shrinkB": 4}
    note = ax.annotate(
        label(name, 40),
        (point[0], point[1]),
        xytext=(0, 0),
        textcoords="offset points",
        fontsize=_TEXT_PT,
        color=TEXT_COLOUR,
        arrowprops=leader,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )
    note.set_in_layout(False)
    return note


def _size(note: Annotation) -> Floats:
    """Width and height of the text alone: the annotation's own extent would count the line to its point."""
    from matplotlib.text import Text

    extent = Text.get_window_extent(note)
    return np.array([extent.width, extent.height])


def _move(note: Annotation, place: _Place, px_per_pt: float) -> None:
    x, y = (place.box[:2] - place.point) / px_per_pt
    note.set_position((float(x), float(y)))
    if note.arrow_patch is not None:
        note.arrow_patch.set_visible(len(place.line) > 0)
