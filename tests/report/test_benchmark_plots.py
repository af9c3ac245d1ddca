from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from PIL import Image

from moase_edge.errors import ConfigError
from moase_edge.metrics.trace import TracePoints
from moase_edge.report.cost_figure import CostPoint, draw_error_against_cost, pareto_front
from moase_edge.report.error_figure import draw_errors_by_domain
from moase_edge.report.error_matrix_figure import draw_error_matrix
from moase_edge.report.error_over_time_figure import draw_error_over_time
from moase_edge.report.plots import plot_error_against_cost, plot_error_matrix, plot_error_over_time

METHODS = ["source", *(f"a method with quite a long name {i}" for i in range(12))]
DOMAINS = [f"a_rather_long_corruption_{i}" for i in range(8)]
NAN = math.nan
COSTS = {
    "source": CostPoint(1, 60, NAN, NAN),
    "good": CostPoint(2, 50, 48, 52),
    "poor": CostPoint(4, 55, 53, 57),
    "best": CostPoint(8, 40, 39, 41),
}


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def errors_of(methods: int, domains: int) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(0)
    names = [f"{DOMAINS[i % 8]} {i}" for i in range(domains)]
    return {
        METHODS[i]: dict(zip(names, rng.uniform(0, 100, domains).tolist(), strict=True)) for i in range(methods)
    }


def curves(count: int) -> dict[str, TracePoints]:
    return {METHODS[i]: TracePoints.of([0, 40, 80], [50, 60 - i, 70 - i]) for i in range(count)}


def marks_of(count: int) -> list[tuple[float, str]]:
    return [(80.0 * i / count, f"{DOMAINS[i % 8]} {i}") for i in range(count)]


def shown(ax: Axes) -> dict[tuple[float, float], Text]:
    """The numbers in the cells of a matrix, by place."""
    return {text.get_position(): text for text in ax.texts}


def overlap(first: Bbox, second: Bbox) -> bool:
    return bool(first.x0 < second.x1 and second.x0 < first.x1 and first.y0 < second.y1 and second.y0 < first.y1)


def test_each_plot_of_the_benchmark_is_a_png_at_least_1200_wide(tmp_path: Path) -> None:
    plot_error_over_time(tmp_path / "time.png", curves(2), marks=marks_of(3), title="t")
    plot_error_matrix(tmp_path / "matrix.png", errors_of(2, 3), reference="source", title="t")
    plot_error_against_cost(tmp_path / "cost.png", COSTS, title="t")
    for name in ("time", "matrix", "cost"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.format == "PNG"
            assert image.width >= 1200


def test_more_bars_than_colours_differ_by_pattern() -> None:
    figure = drawn(draw_errors_by_domain({name: {"fog": 50.0} for name in METHODS}, "t"))
    bars = [container.patches[0] for container in figure.axes[0].containers]  # type: ignore[attr-defined]
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in bars}) == 13


def test_each_method_has_a_panel_with_the_first_series_behind_it() -> None:
    figure = drawn(draw_error_over_time(curves(5), title="t"))
    assert [ax.get_title(loc="left") for ax in figure.axes] == METHODS[1:5]
    for ax, points in zip(figure.axes, list(curves(5).values())[1:], strict=True):
        behind, line = ax.get_lines()
        np.testing.assert_array_equal(behind.get_ydata(), [50, 60, 70])
        np.testing.assert_array_equal(line.get_ydata(), points.mean)
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert {text.get_text() for text in figure.legends[0].get_texts()} >= {"source", "worse than source"}


def test_a_single_series_has_the_only_panel_and_no_legend() -> None:
    figure = drawn(draw_error_over_time(curves(1), title="t"))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["source"]
    assert figure.legends == []


def test_an_empty_series_says_so_beside_others() -> None:
    figure = drawn(draw_error_over_time({**curves(2), "none": TracePoints.of([], [])}, title="t"))
    assert [text.get_text() for text in figure.axes[1].texts] == ["no values"]


@pytest.mark.parametrize("domains", [8, 45])
def test_domain_names_over_13_methods_never_overlap_and_are_the_same_over_each_column(domains: int) -> None:
    figure = drawn(draw_error_over_time(curves(13), marks=marks_of(domains), title="t"))
    strips, panels = figure.axes[:3], figure.axes[3:]
    assert len(panels) == 12
    names = [[label.get_text() for label in strip.get_xticklabels()] for strip in strips]
    assert names[0] == names[1] == names[2]
    assert f"only {len(names[0])} of 45" in panels[-1].get_xlabel() or len(names[0]) == domains
    for strip in strips:
        labels = strip.get_xticklabels()
        turned = math.radians(labels[0].get_rotation())
        xs = [strip.transData.transform((label.get_position()[0], 0))[0] for label in labels]
        height = 9 / 72 * figure.dpi
        assert all((right - left) * math.sin(turned) > 0.95 * height for left, right in itertools.pairwise(xs))
    assert all(panel.get_window_extent().height > 80 for panel in panels)


def test_a_matrix_shows_every_error_and_the_mean_of_complete_rows() -> None:
    errors = {"source": {"fog": 40.0, "snow": 60.0}, "partial": {"fog": 30.0}}
    ax = drawn(draw_error_matrix(errors, title="t")).axes[0]
    texts = {place: text.get_text() for place, text in shown(ax).items()}
    assert texts == {
        (0.5, 0.5): "40.0",
        (1.5, 0.5): "60.0",
        (2.75, 0.5): "50.0",
        (0.5, 1.5): "30.0",
        (1.5, 1.5): "–",  # noqa: RUF001
        (2.75, 1.5): "–",  # noqa: RUF001
    }
    assert [label.get_text() for label in ax.get_xticklabels()] == ["fog", "snow", "mean"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["source", "partial"]


def test_the_lowest_of_each_column_of_a_matrix_is_bold() -> None:
    errors = {"a": {"fog": 40.0, "snow": 60.0}, "b": {"fog": 50.0, "snow": 20.0}}
    ax = drawn(draw_error_matrix(errors, title="t")).axes[0]
    bold = {text.get_text() for text in ax.texts if text.get_fontweight() == "bold"}
    assert bold == {"40.0", "20.0", "35.0"}


def test_colours_of_a_matrix_compare_with_the_reference_on_a_fixed_scale() -> None:
    errors = {"source": {"fog": 50.0}, "better": {"fog": 40.0}, "worse": {"fog": 95.0}}
    figure = drawn(draw_error_matrix(errors, reference="source", title="t"))
    mesh = figure.axes[0].collections[0]
    assert mesh.get_clim() == (-15.0, 15.0)
    np.testing.assert_allclose(np.ma.compressed(np.ma.asarray(mesh.get_array())), [0, 0, -10, -10, 45, 45])
    assert figure.axes[1].get_ylabel() == "points against source"


@pytest.mark.parametrize("domains", [1, 8, 15, 60])
def test_numbers_in_a_matrix_stay_in_their_cells_or_are_left_out(domains: int) -> None:
    errors = {name: dict.fromkeys(row, 100.0) for name, row in errors_of(13, domains).items()}
    figure = drawn(draw_error_matrix(errors, reference="source", title="t"))
    ax = figure.axes[0]
    cell = ax.transData.transform((1, 0))[0] - ax.transData.transform((0, 0))[0]
    assert len(ax.texts) == (0 if domains == 60 else 13 * (domains + 1))
    assert all(text.get_window_extent().width < cell for text in ax.texts)
    assert ("are named" in ax.get_xlabel()) == (domains == 60)


def test_the_front_holds_what_nothing_undercuts_in_cost_and_error() -> None:
    assert pareto_front(COSTS) == ["source", "good", "best"]
    same = {"a": CostPoint(1, 50, NAN, NAN), "b": CostPoint(1, 50, NAN, NAN), "c": CostPoint(2, 50, NAN, NAN)}
    assert pareto_front(same) == ["a"]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_each_point_is_on_the_front_or_undercut_by_one_that_is(pairs: list[tuple[int, int]]) -> None:
    points = {str(i): CostPoint(cost, error, NAN, NAN) for i, (cost, error) in enumerate(pairs)}
    front = [points[name] for name in pareto_front(points)]
    for first, second in itertools.pairwise(front):
        assert first.cost < second.cost
        assert first.error > second.error
    for point in points.values():
        assert any(other.cost <= point.cost and other.error <= point.error for other in front)


def test_costs_are_on_a_logarithmic_axis_with_stairs_along_the_front() -> None:
    ax = drawn(draw_error_against_cost(COSTS, title="t")).axes[0]
    assert ax.get_xscale() == "log"
    lines = [np.asarray(line.get_xydata()) for line in ax.get_lines()]
    (stairs,) = (line for line in lines if len(line) > 1)
    np.testing.assert_allclose(stairs[:, 1], [60, 50, 40, 40])
    np.testing.assert_allclose(stairs[:3, 0], [1, 2, 8])
    assert sorted(text.get_text() for text in ax.texts) == sorted(COSTS)
    assert len(ax.collections) == 3
    assert "interval" in ax.get_title(loc="left")


def test_a_point_without_error_is_left_out_and_a_single_one_is_drawn() -> None:
    ax = drawn(draw_error_against_cost({"a": (1, 50, NAN, NAN), "b": (2, NAN, NAN, NAN)}, title="t")).axes[0]
    assert [text.get_text() for text in ax.texts] == ["a"]
    assert "interval" not in ax.get_title(loc="left")


@pytest.mark.parametrize("spread", [1.05, 10.0, 1000.0])
def test_names_of_13_methods_cover_neither_each_other_nor_a_point_nor_the_edge(spread: float) -> None:
    rng = np.random.default_rng(1)
    errors = rng.uniform(50, 70, 13)
    points = {
        name: CostPoint(float(cost), float(error), float(error) - 1, float(error) + 1)
        for name, cost, error in zip(METHODS, spread ** rng.random(13), errors, strict=True)
    }
    ax = drawn(draw_error_against_cost(points, title="t")).axes[0]
    assert [text.get_text() for text in ax.texts] == METHODS
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    frame = ax.get_window_extent()
    assert not any(overlap(first, second) for first, second in itertools.combinations(boxes, 2))
    assert all(box.x0 >= frame.x0 and box.x1 <= frame.x1 for box in boxes)
    centres = [ax.transData.transform((point.cost, point.error)) for point in points.values()]
    assert not any(box.contains(*centre) for box in boxes for centre in centres)


def test_a_name_far_from_its_point_has_a_line_to_it_and_a_near_one_has_none() -> None:
    rng = np.random.default_rng(0)
    crowd = {name: CostPoint(1 + 0.001 * i, 60 + 0.05 * rng.random(), NAN, NAN) for i, name in enumerate(METHODS)}
    crowd["far"] = CostPoint(3, 80, NAN, NAN)
    notes = drawn(draw_error_against_cost(crowd, title="t")).axes[0].texts
    lines = {}
    for note in notes:
        assert isinstance(note, Annotation)
        assert note.arrow_patch is not None
        lines[note.get_text()] = note.arrow_patch.get_visible()
    assert not lines["far"]
    assert any(lines.values())


def test_names_with_dollars_underscores_and_line_breaks_are_drawn_as_text() -> None:
    name = "_cost $x^$\n"
    draw_error_against_cost({name: CostPoint(1, 50, NAN, NAN)}, title="$").draw_without_rendering()
    draw_error_matrix({name: {"$\\b$": 1.0}}, reference=name, title="$").draw_without_rendering()
    curve = TracePoints.of([0, 1], [50, 60])
    series = {name: curve, "$\\frac$": curve}
    draw_error_over_time(series, marks=[(0, "$^$")], title="$").draw_without_rendering()


def test_bad_input_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="labelled frames"):
        plot_error_over_time(tmp_path / "a.png", {"source": TracePoints.of([], [])}, title="t")
    with pytest.raises(ConfigError, match="labelled frames"):
        plot_error_matrix(tmp_path / "a.png", {"source": {}}, title="t")
    with pytest.raises(ConfigError, match="'frozen' to compare with; expected one of source, ours"):
        plot_error_matrix(tmp_path / "a.png", {"source": {"fog": 1.0}, "ours": {}}, reference="frozen", title="t")
    with pytest.raises(ConfigError, match="run one first"):
        plot_error_against_cost(tmp_path / "a.png", {}, title="t")
    with pytest.raises(ConfigError, match=r"ours costs 0\.0 inferences"):
        plot_error_against_cost(tmp_path / "a.png", {"ours": (0.0, 1, 1, 1)}, title="t")
    assert list(tmp_path.iterdir()) == []
