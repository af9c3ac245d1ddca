"""Error against cost: adapters in 1, 2, 4 and all blocks, the first or the last, in PyTorch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.bench.bench_report import BenchReport
from moase_edge.bench.experiments.compared import only, to_source
from moase_edge.bench.experiments.spec import Experiment, Study
from moase_edge.bench.grid import SOURCE
from moase_edge.bench.methods import build_method
from moase_edge.bench.methods.placed_moase import PlacedMoase
from moase_edge.bench.methods.variants import PLACEMENTS
from moase_edge.bench.results import MethodResult
from moase_edge.bench.subject import Subject
from moase_edge.bench.workbench import open_subject_and_data
from moase_edge.config.bench import BenchSettings
from moase_edge.report.plots import plot_error_against_cost
from moase_edge.report.tables import Table
from moase_edge.runtime.stages import Stages

_TITLE = "Where MoASE is placed, and what it costs"
_ROUNDS = 5


def study_placement(report: BenchReport, _out: Path) -> Study:
    """Error of each placement over its measured cost."""
    methods = only(report).methods
    costs, parameters = costs_of(report.settings)
    points = points_of(methods, costs)
    rows = [
        (name, parameters.get(name, 0), costs[name], methods[name].error, to_source(methods[name]))
        for name in points
    ]
    note = f"Cost: answering and learning, in frames of the frozen network in PyTorch; median of {_ROUNDS} rounds."
    return Study(
        plain={"points": {name: list(point) for name, point in points.items()}, "parameters": parameters},
        table=Table(_TITLE, ("variant", "parameters", "cost", "mean error", "against source"), rows, note),
        draw=partial(_draw, points=points),
        about="Error against measured cost of MoASE in the first, the last and all blocks",
    )


def points_of(
    methods: Mapping[str, MethodResult], costs: Mapping[str, float]
) -> dict[str, tuple[float, float, float, float]]:
    """Cost, error, and the interval of the difference to the source laid around the source's error."""
    base = methods[SOURCE].error.mean
    points = {SOURCE: (1.0, base, base, base)}
    for name in (name for name in costs if name != SOURCE):
        found = to_source(methods[name])
        points[name] = (costs[name], methods[name].error.mean, base + found.low, base + found.high)
    return points


def costs_of(settings: BenchSettings) -> tuple[dict[str, float], dict[str, int]]:
    """Time to answer and learn from a batch, in units of the frozen network's, and how many numbers learn.

    Placements take turns, so that a machine that is busy now and then is so for all alike.
    """
    backbone, _ = open_subject_and_data(settings)
    torch.set_num_threads(settings.threads)
    shape = (settings.batch_size, 3, backbone.preprocess.height, backbone.preprocess.width)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    subject = Subject.in_torch(backbone, source_images=images)
    placed = {name: cast(PlacedMoase, build_method(name, subject, 0)) for name in PLACEMENTS}
    network = subject.network()
    spent: dict[str, list[float]] = {name: [] for name in (SOURCE, *placed)}
    for _ in range(_ROUNDS):
        begin = perf_counter()
        with torch.no_grad():
            network(torch.from_numpy(images))
        spent[SOURCE].append(perf_counter() - begin)
        for name, method in placed.items():
            spent[name].append(_seconds(method, images))
    ratios = {name: _ratio(times, spent[SOURCE]) for name, times in spent.items()}
    return ratios, {name: method.parameters for name, method in placed.items()}


def _seconds(method: PlacedMoase, images: NDArray[np.float32]) -> float:
    begin = perf_counter()
    method.learn(method.predict(images, Stages()))
    return perf_counter() - begin


def _ratio(times: list[float], unit: list[float]) -> float:
    return statistics.median(time / base for time, base in zip(times, unit, strict=True))


def _draw(path: Path, *, points: dict[str, tuple[float, float, float, float]]) -> None:
    plot_error_against_cost(path, points, title=_TITLE)


PLACEMENT = Experiment(
    question="Which blocks are worth adapting, for what they cost?",
    methods=tuple(PLACEMENTS),
    study=study_placement,
)
