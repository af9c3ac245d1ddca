"""Error of many methods in many domains, as numbers on colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import ConfigError
from moase_edge.report.canvas import TEXT_COLOUR, dress, label, new_figure, write_names
from moase_edge.report.tables import MISSING, domains_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Fixed, so that colours mean the same in every picture; a collapse beyond it is as dark as can be.
_DARKEST_POINTS = 15.0
_ROW_IN = 0.31
_LARGEST_PT, _SMALLEST_PT = 9.0, 5.0
# Width of a number such as 100.0 in units of its size.
_NUMBER_EM = 3.1
_MEAN_GAP = 0.25


def draw_error_matrix(
    errors: Mapping[str, Mapping[str, float]], *, reference: str | None = None, title: str
) -> Figure:
    """Top-1 error as a number for each method (row) and domain (column), and the mean; the lowest in bold.

    Args:
        errors: error in percent by domain, by method; a domain that a method lacks shows as missing.
        reference: the method, such as the source, that colours compare with: blue is better, red worse. Without
            one, colours show the error itself.
        title: what was run.

    Raises:
        ConfigError: nothing to plot, no such reference, or no matplotlib.
    """
    domains = domains_of(errors)
    if not domains:
        raise ConfigError("there is no domain to plot: expected the error of at least one; run on labelled frames")
    if reference is not None and reference not in errors:
        raise ConfigError(f"no method {reference!r} to compare with; expected one of {', '.join(errors)}")
    figure = new_figure(title, height_in=2.1 + _ROW_IN * len(errors))
    ax = figure.subplots()
    dress(ax)
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)
    values = _values(errors, domains)
    colours = _colours(values, None if reference is None else list(errors).index(reference))
    edges = [*range(len(domains) + 1), len(domains) + _MEAN_GAP, len(domains) + _MEAN_GAP + 1]
    shades = _paint(ax, colours, edges, against=reference)
    ax.set_ylim(len(errors), 0)
    ax.set_yticks([row + 0.5 for row in range(len(errors))], [label(name, 40) for name in errors])
    ax.tick_params(length=0)
    if reference is not None:
        ax.get_yticklabels()[list(errors).index(reference)].set_fontweight("bold")
    centres = [(edges[i] + edges[i + 1]) / 2 for i in _columns(domains)]
    hidden = write_names(ax, centres, [*domains, "mean"], top=True)
    if hidden:
        note = f"only {len(centres) - hidden} of {len(centres)} columns are named; the last one is the mean"
        ax.set_xlabel(note, fontsize=9, color=TEXT_COLOUR)
    _write_values(ax, values, shades, centres)
    return figure


def _columns(domains: Sequence[str]) -> list[int]:
    """Where each column begins in the edges: the gap before the mean is skipped."""
    return [*range(len(domains)), len(domains) + 1]


def _values(errors: Mapping[str, Mapping[str, float]], domains: Sequence[str]) -> NDArray[np.float64]:
    """(methods, domains + 1) percent; the mean last, missing where an error is: it would not compare."""
    rows = np.array([[e.get(domain, math.nan) for domain in domains] for e in errors.values()], dtype=np.float64)
    return np.column_stack([rows, rows.mean(axis=1)])


def _colours(values: NDArray[np.float64], reference: int | None) -> NDArray[np.float64]:
    """What the colours stand for: points against the reference, or the error itself."""
    return values if reference is None else values - values[reference]


def _paint(
    ax: Axes, colours: NDArray[np.float64], edges: Sequence[float], *, against: str | None
) -> NDArray[np.float64]:
    """Colour the cells; returns the lightness of each, (methods, domains + 1), 0 .. 1."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high, name = (0.0, 100.0, "Oranges")
    if against is not None:
        low, high, name = -_DARKEST_POINTS, _DARKEST_POINTS, "RdBu_r"
    scale = Normalize(low, high)
    mappable = ScalarMappable(scale, name)
    spaced = np.insert(colours, -1, math.nan, axis=1)
    ax.pcolormesh(
        np.array(edges),
        np.arange(len(colours) + 1),
        np.ma.masked_invalid(spaced),
        norm=scale,
        cmap=mappable.cmap,
        edgecolor="white",
        linewidth=1.0,
    )
    meaning = "error (%)" if against is None else f"points against {label(against, 20)}"
    bar = ax.figure.colorbar(
        mappable, ax=ax, extend="neither" if against is None else "both", aspect=24, pad=0.015
    )
    bar.set_label(meaning, fontsize=9, color=TEXT_COLOUR)
    bar.ax.tick_params(labelsize=8, labelcolor=TEXT_COLOUR, length=0)
    bar.outline.set_visible(False)
    lightness: NDArray[np.float64] = mappable.to_rgba(np.nan_to_num(colours))[..., :3] @ (0.299, 0.587, 0.114)
    return lightness


def _write_values(
    ax: Axes, values: NDArray[np.float64], lightness: NDArray[np.float64], centres: Sequence[float]
) -> None:
    """A number in each cell, as large as fits; none where it would be too small to read."""
    size_pt = _size_pt(ax)
    if size_pt < _SMALLEST_PT:
        return
    best = np.nanmin(values, axis=0, initial=math.inf) if len(values) > 1 else np.full(len(centres), math.nan)
    look: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": size_pt}
    for (row, column), value in np.ndenumerate(values):
        known = math.isfinite(value)
        ax.text(
            centres[column],
            row + 0.5,
            f"{value:.1f}" if known else MISSING,
            color="white" if known and lightness[row, column] < 0.55 else TEXT_COLOUR,
            fontweight="bold" if value == best[column] else "normal",
            **look,
        )


def _size_pt(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    if figure is None:
        return 0.0
    figure.draw_without_rendering()
    low, high = ax.get_xlim()
    column_pt = ax.get_window_extent().width / (high - low) * 72 / figure.dpi
    return min(_LARGEST_PT, column_pt / _NUMBER_EM)
