from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from moase_edge.errors import ConfigError, StorageError
from moase_edge.metrics.latency import LatencyProfile, LatencySummary
from moase_edge.metrics.trace import Trace, TracePoints
from moase_edge.report.adaptation_figure import draw_adaptation
from moase_edge.report.error_figure import draw_errors_by_domain
from moase_edge.report.latency_figure import draw_latency
from moase_edge.report.plots import plot_adaptation, plot_errors_by_domain, plot_latency, plots_missing

DOMAINS = [f"a_rather_long_corruption_{i}" for i in range(15)]
NOTHING = TracePoints.of([], [])


def timed(stages: dict[str, list[float]]) -> tuple[dict[str, TracePoints], dict[str, LatencySummary]]:
    profile, traces = LatencyProfile(), {stage: Trace(100) for stage in stages}
    for stage, values in stages.items():
        for frame, ms in enumerate(values):
            profile.add(stage, ms)
            traces[stage].add(frame, ms)
    return {stage: trace.points() for stage, trace in traces.items()}, profile.summaries()


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def labels_apart(ax: Axes) -> bool:
    """Whether no tick label of the x axis covers the next; slanted ones are as far apart as their baselines."""
    labels = [tick for tick in ax.get_xticklabels() if tick.get_text()]
    turned = math.radians(labels[0].get_rotation())
    if turned == 0:
        boxes = [tick.get_window_extent() for tick in labels]
        return all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    height = float(labels[0].get_fontsize()) / 72 * ax.figure.dpi
    xs = [ax.transData.transform((tick.get_position()[0], 0))[0] for tick in labels]
    return all((right - left) * math.sin(turned) > height for left, right in itertools.pairwise(xs))


def test_each_plot_is_a_png_at_least_1200_wide(tmp_path: Path) -> None:
    points, summaries = timed({"engine": [10.0, 11.0], "total": [20.0, 21.0]})
    plot_latency(tmp_path / "latency.png", points, summaries, budget_ms=33, title="latency")
    plot_adaptation(tmp_path / "adaptation.png", {"loss": points["total"]}, title="adaptation")
    plot_errors_by_domain(tmp_path / "errors.png", {"frozen": {"fog": 40.0}}, "errors")
    for name in ("latency", "adaptation", "errors"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.format == "PNG"
            assert image.width >= 1200
            assert len(set(image.convert("L").resize((100, 50)).tobytes())) > 10


def test_the_same_data_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plot_errors_by_domain(tmp_path / name, {"frozen": {"fog": 40.0}}, "errors")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_latency_axis_is_logarithmic_only_where_values_spread_30_fold() -> None:
    scales = []
    for smallest in (1.0, 0.3):
        points, summaries = timed({"emit": [smallest, smallest], "engine": [10.0, 10.0]})
        over_frames, percentiles, _ = drawn(draw_latency(points, summaries, title="t")).axes
        scales.append((over_frames.get_yscale(), percentiles.get_xscale()))
    assert scales == [("linear", "linear"), ("log", "log")]


def test_latency_has_a_line_a_band_and_a_row_for_each_stage_and_the_budget() -> None:
    points, summaries = timed({"engine": [10.0] * 99 + [30.0], "total": [20.0] * 100})
    figure = drawn(draw_latency(points, summaries, budget_ms=33, title="t"))
    over_frames, percentiles, figures = figure.axes
    assert [line.get_label() for line in over_frames.get_lines()] == ["engine", "total", "budget 33 ms"]
    np.testing.assert_array_equal(over_frames.get_lines()[0].get_ydata(), points["engine"].mean)
    assert len(over_frames.collections) == 2
    assert [tick.get_text() for tick in percentiles.get_yticklabels()] == ["engine", "total"]
    assert figures.get_yticklabels()[0].get_text().split() == ["p50", "p99", "max"]
    assert figures.get_yticklabels()[1].get_text().split()[2] == "30.00"
    assert len({line.get_color() for line in over_frames.get_lines()}) == 3


def test_many_frames_are_drawn_as_running_medians_that_follow_a_step_and_ignore_spikes() -> None:
    frames = 960
    noisy = [(10.0 if i < frames / 2 else 20.0) + (500.0 if i % 50 == 7 else i % 3 - 1) for i in range(frames)]
    over_frames = TracePoints.of(range(frames), noisy)
    few = TracePoints.of(range(0, frames, 200), [3.0] * 5)
    figure = drawn(draw_latency({"engine": over_frames, "update": few, "guard": NOTHING}, {}, title="t"))
    engine, update, guard = figure.axes[0].get_lines()
    medians = np.asarray(engine.get_ydata())
    assert len(medians) == 100
    assert set(medians[:45].round()) == {10.0}
    assert set(medians[55:].round()) == {20.0}
    assert (engine.get_xdata()[0], engine.get_xdata()[-1]) == (0, frames - 1)  # type: ignore[index]
    assert list(update.get_ydata()) == [3.0] * 5  # type: ignore[arg-type]
    assert len(guard.get_xdata()) == 0  # type: ignore[arg-type]
    assert "running median" in figure.axes[0].get_title(loc="left")


def test_stages_without_frames_or_summary_and_zero_durations_are_drawn() -> None:
    points, summaries = timed({"engine": [0.0, 50.0, 0.001], "learn": []})
    points["guard"] = NOTHING
    figures = drawn(draw_latency(points, summaries, title="t")).axes[2]
    texts = [tick.get_text().split() for tick in figures.get_yticklabels()]
    assert texts[2] == ["–"] * 3  # noqa: RUF001
    assert len(texts) == 4


def test_many_stages_get_different_styles_and_long_names_still_leave_room() -> None:
    points, summaries = timed(
        {f"a_stage_with_a_really_long_name_number_{i}": [float(i + 1)] * 3 for i in range(20)}
    )
    figure = drawn(draw_latency(points, summaries, title="t " * 200))
    lines = figure.axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20
    assert all(ax.get_window_extent().width > 150 for ax in figure.axes)
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1
    assert {len(tick.get_text()) for tick in figure.axes[1].get_yticklabels()} == {20}


def test_names_with_dollars_underscores_and_line_breaks_are_drawn_as_text() -> None:
    points, summaries = timed({"_cost $x^$\n": [1.0, 2.0]})
    figure = drawn(draw_latency(points, summaries, title="$\\frac$ and $"))
    assert len(figure.legends[0].get_texts()) == 1
    draw_errors_by_domain({"$a$": {"$\\b$": 1.0}}, "$").draw_without_rendering()


def test_adaptation_has_one_panel_a_series_over_the_same_frames() -> None:
    trace = TracePoints.of([0, 5, 10], [1, 2, 3])
    figure = drawn(draw_adaptation({"entropy (nats)": trace, "loss": TracePoints.of([2], [1])}, title="t"))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["entropy (nats)", "loss"]
    assert {ax.get_xlim() for ax in figure.axes} == {(0.0, 10.0)}
    assert figure.axes[-1].get_xlabel() == "frame"


@pytest.mark.parametrize(
    ("values", "title", "drawn_as"),
    [
        ([2e-5, 3e-5], "HP, in units of 1e-5", [2.0, 3.0]),
        ([4e6, 5e6], "HP, in units of 1e6", [4.0, 5.0]),
        ([0.5, 2.0], "HP", [0.5, 2.0]),
        ([0.0, 0.0], "HP", [0.0, 0.0]),
    ],
)
def test_the_power_of_ten_stands_in_the_title_and_never_beside_the_axis(
    values: list[float], title: str, drawn_as: list[float]
) -> None:
    (ax,) = drawn(draw_adaptation({"HP": TracePoints.of([0, 1], values)}, title="t")).axes
    assert ax.get_title(loc="left") == title
    np.testing.assert_allclose(np.asarray(ax.get_lines()[0].get_ydata()), drawn_as)
    assert ax.yaxis.get_offset_text().get_text() == ""


def test_values_close_to_each_other_have_no_offset() -> None:
    (ax,) = drawn(draw_adaptation({"loss": TracePoints.of([0, 1], [2.3025, 2.302501])}, title="t")).axes
    assert ax.yaxis.get_offset_text().get_text() == ""


def test_an_empty_series_says_so() -> None:
    figure = drawn(draw_adaptation({"loss": NOTHING}, title="t"))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no values"]


def test_domain_bands_begin_at_their_marks() -> None:
    figure = drawn(
        draw_adaptation({"loss": TracePoints.of([0, 10], [1, 2])}, marks=[(6, "b"), (0, "a")], title="t")
    )
    strip, panel = figure.axes
    assert [tick.get_text() for tick in strip.get_xticklabels()] == ["a", "b"]
    assert [tick.get_position()[0] for tick in strip.get_xticklabels()] == [3.0, 8.0]
    spans = [(patch.get_x(), patch.get_width()) for patch in panel.patches]  # type: ignore[attr-defined]
    assert spans == [(0, 6), (6, 4)]


@pytest.mark.parametrize("count", [1, 15, 150])
def test_domain_names_over_the_panels_never_overlap(count: int) -> None:
    marks = [(10.0 * i, f"{DOMAINS[i % 15]} {i}") for i in range(count)]
    series = {"loss": TracePoints.of([0, 10 * count], [1, 2])}
    strip, panel = drawn(draw_adaptation(series, marks=marks, title="t")).axes
    shown = len(strip.get_xticklabels())
    assert labels_apart(strip)
    assert panel.get_window_extent().height > 60
    assert (f"only {shown} of {count}" in panel.get_xlabel()) == (shown < count)
    assert (shown < count) == (count == 150)


@pytest.mark.parametrize("count", [1, 15, 150])
def test_domain_names_under_the_bars_never_overlap(count: int) -> None:
    errors = {f"{DOMAINS[i % 15]} {i}": 50.0 for i in range(count)}
    ax = drawn(draw_errors_by_domain({"frozen": errors, "adapting": errors}, "t")).axes[0]
    assert labels_apart(ax)
    assert ("domains are named" in ax.get_xlabel()) == (count == 150)


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_values_over_the_bars_never_overlap(runs: int) -> None:
    series = {f"run {run}": dict.fromkeys(DOMAINS, 44.4) for run in range(runs)}
    ax = drawn(draw_errors_by_domain(series, "t")).axes[0]
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.x0)
    assert len(boxes) == (15 * runs if runs < 3 else 0)
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))


def test_bars_have_the_height_of_the_error_and_missing_errors_have_none() -> None:
    series = {"frozen": {"fog": 40.0, "snow": math.nan}, "adapting": {"snow": 20.0}}
    figure = drawn(draw_errors_by_domain(series, "t"))
    ax = figure.axes[0]
    heights = [[patch.get_height() for patch in bars.patches] for bars in ax.containers]  # type: ignore[attr-defined]
    assert heights == [[40.0], [20.0]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "frozen: mean 40.0 %",
        "adapting: mean 20.0 %",
    ]


def test_nothing_to_plot_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="time a stage first"):
        plot_latency(tmp_path / "a.png", {}, {}, title="t")
    with pytest.raises(ConfigError, match="record one first"):
        plot_adaptation(tmp_path / "a.png", {}, title="t")
    with pytest.raises(ConfigError, match="labelled frames"):
        plot_errors_by_domain(tmp_path / "a.png", {"frozen": {}}, "t")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(StorageError, match="taken"):
        plot_errors_by_domain(tmp_path / "taken" / "a.png", {"frozen": {"fog": 1.0}}, "t")


def test_plots_are_available_here() -> None:
    assert plots_missing() is None
