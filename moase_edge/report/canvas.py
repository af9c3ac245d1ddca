"""What all plots share: a figure without global state, colours, and labels that never overlap."""

from __future__ import annotations

import io
import itertools
import math
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from moase_edge.errors import ConfigError
from moase_edge.metrics.trace import TracePoints
from moase_edge.report.files import write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008); grey in place of their yellow, too pale for lines on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#808080")
_DASHES = ("-", "--", ":", "-.")

TEXT_COLOUR = "#22272E"
_GRID_COLOUR = "#D5DADF"

_DPI = 150
_FEW_POINTS = 40
_TITLE_WIDTH = 120
_SLANT_DEGREES = 40
_GAP_EM = 0.5
_TEXT_PT = 9


def plots_missing() -> str | None:
    """None where plots can be drawn, else the sentence with which a report says why it has none."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as exc:
        return (
            f"There are no plots, because matplotlib cannot be imported ({exc}); "
            "`pip install 'moase-edge[plot]'` adds them. Tables and JSON files are complete without."
        )
    return None


def new_figure(title: str, *, width_in: float = 12.0, height_in: float) -> Figure:
    """An empty figure, 100 units of a web page an inch.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    missing = plots_missing()
    if missing:
        raise ConfigError(missing)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.07)
    figure = Figure(figsize=(width_in, height_in), dpi=_DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    lines = textwrap.wrap(title, _TITLE_WIDTH)
    text = "\n".join(literal(line) for line in lines)
    figure.suptitle(text, x=0.008, ha="left", fontsize=13, fontweight="bold", color=TEXT_COLOUR)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write `figure` as PNG to `path`.

    Raises:
        StorageError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes_atomic(path, buffer.getvalue())


def line_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dash for each name: colours first, and when they are used up the next dash."""
    styles = itertools.cycle(itertools.product(_DASHES, _COLOURS))
    return {
        name: {"color": colour, "linestyle": dash} for name, (dash, colour) in zip(names, styles, strict=False)
    }


def literal(text: str) -> str:
    """`text` drawn as it is: a dollar starts no mathematics."""
    return text.replace("$", r"\$")


def label(text: str, longest: int = 32) -> str:
    """`text` as one line of at most `longest` characters, for an axis or a legend."""
    line = " ".join(text.split())
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    # A legend leaves out names that begin with an underscore.
    return literal(f" {line}" if line.startswith("_") else line)


def dress(ax: Axes, *, x_label: str = "", y_label: str = "", title: str = "") -> None:
    """The plain look: light grid behind, no box; labels with their units."""
    ax.set_axisbelow(True)
    ax.grid(True, color=_GRID_COLOUR, linewidth=0.6)
    ax.tick_params(which="both", labelsize=_TEXT_PT, labelcolor=TEXT_COLOUR, length=3, color=_GRID_COLOUR)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_GRID_COLOUR)
    ax.set_xlabel(x_label, fontsize=10, color=TEXT_COLOUR)
    ax.set_ylabel(y_label, fontsize=10, color=TEXT_COLOUR)
    ax.set_title(title, loc="left", fontsize=10, color=TEXT_COLOUR)


def add_legend(figure: Figure, source: Axes) -> None:
    """The legend of `source` below the whole figure, in as many columns as fit, so that it covers nothing."""
    handles, labels = source.get_legend_handles_labels()
    if not handles:
        return
    column_in = 0.6 + 0.64 * _TEXT_PT / 72 * max(map(len, labels))
    columns = max(1, int(0.95 * figure.get_figwidth() / column_in))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, fontsize=_TEXT_PT, frameon=False)


def draw_trace(ax: Axes, points: TracePoints, style: Mapping[str, Any], name: str) -> None:
    """The mean as a line, and the band from the lowest to the highest value behind each point."""
    ax.fill_between(points.x, points.low, points.high, color=style["color"], alpha=0.22, linewidth=0)
    marker = "." if len(points.x) <= _FEW_POINTS else None
    ax.plot(points.x, points.mean, linewidth=1.3, marker=marker, label=name, **style)


def write_names(ax: Axes, centres: Sequence[float], names: Sequence[str], *, top: bool = False) -> int:
    """Write `names` under (or over) the x axis: level where they fit, else slanted, else only some of them.

    Args:
        ax: its x limits are set.
        centres: ascending positions on the x axis.
        names: one for each.
        top: over the axis instead of under it.

    Returns:
        How many names had no room.
    """
    texts = [label(name) for name in names]
    ax.tick_params(axis="x", top=top, labeltop=top, bottom=not top, labelbottom=not top)
    ax.set_xticks(centres, texts)
    figure = ax.get_figure(root=True)
    if figure is None or not texts:
        return 0
    figure.draw_without_rendering()
    em_px = _TEXT_PT / 72 * figure.dpi
    if not _touching(ax, _GAP_EM * em_px):
        return 0
    low, high = ax.get_xlim()
    px_per_unit = ax.get_window_extent().width / (high - low)
    line_px = 1.25 * em_px / math.sin(math.radians(_SLANT_DEGREES))
    kept = _spaced(centres, line_px / px_per_unit)
    ax.set_xticks(
        [centres[i] for i in kept],
        [texts[i] for i in kept],
        rotation=_SLANT_DEGREES,
        rotation_mode="anchor",
        ha="left" if top else "right",
    )
    return len(texts) - len(kept)


def _touching(ax: Axes, gap_px: float) -> bool:
    boxes = [tick.get_window_extent() for tick in ax.get_xticklabels()]
    return any(left.x1 + gap_px > right.x0 for left, right in itertools.pairwise(boxes))


def _spaced(centres: Sequence[float], step: float) -> list[int]:
    """Indices of ascending centres that are at least `step` apart, from the first on."""
    kept: list[int] = []
    for index, centre in enumerate(centres):
        if not kept or centre - centres[kept[-1]] >= step:
            kept.append(index)
    return kept
