"""Where low and high activations carry domain information: linear probes at several depths.

The method rests on the claim that weak activations tell of the domain and strong ones of the class. What MoASE
reads at a block, the residual stream after attention, is split per token into the weaker and the stronger half of
its channels (the others are zero), averaged over tokens, and given to a logistic regression.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moase_edge.bench.bench_report import BenchReport
from moase_edge.bench.experiments.compared import curve_of, plain_curve
from moase_edge.bench.experiments.probe import (
    HALVES,
    Half,
    chosen_blocks,
    class_targets,
    held_out_accuracy,
    pooled_halves,
)
from moase_edge.bench.experiments.spec import Experiment, Study
from moase_edge.bench.workbench import Workbench
from moase_edge.config.bench import BenchSettings
from moase_edge.metrics.bootstrap import Difference
from moase_edge.report.curves_figure import Curve
from moase_edge.report.plots import plot_curves
from moase_edge.report.tables import Cell, Percent, Table

_TITLE = "What the weaker and the stronger half of the activations tell"

# By target, half and block: accuracy of each seed.
Accuracies = dict[str, dict[Half, dict[int, list[float]]]]


def study_activations(report: BenchReport, _out: Path) -> Study:
    """Accuracy of probes for domain and class on each half, over depth."""
    accuracies, chance = measure(report.settings)
    panels = {
        target: {half: _curve(found) for half, found in halves.items()} for target, halves in accuracies.items()
    }
    rows: list[tuple[Cell, ...]] = [
        (f"{target}, {half}", *(Percent(value) for value in curve.y))
        for target, curves in panels.items()
        for half, curve in curves.items()
    ]
    blocks = [f"{x:g}" for x in next(iter(panels["domain"].values())).x]
    most_frequent = ", ".join(f"{target} {value:.1f}" for target, value in chance.items())
    note = f"Accuracy (%) on unseen pictures by block, mean over seeds. The most frequent answer: {most_frequent}."
    return Study(
        plain={
            "chance": chance,
            **{t: {h: plain_curve(c) for h, c in found.items()} for t, found in panels.items()},
        },
        table=Table(_TITLE, ("probe", *blocks), rows, note),
        draw=partial(_draw, panels=panels, chance=chance),
        about="Accuracy of linear probes for domain and class on either half of the channels and on all",
    )


def measure(settings: BenchSettings) -> tuple[Accuracies, dict[str, float]]:
    """Probe every seed's pictures."""
    accuracies: Accuracies = {}
    chance: dict[str, list[float]] = {}
    with contextlib.closing(Workbench(settings)) as bench:
        blocks = chosen_blocks(len(bench.backbone.model.blocks))  # type: ignore[arg-type]
        for seed in settings.seeds:
            halves, targets, pictures = _seen(bench, seed, blocks)
            for target, answer in targets.items():
                chance.setdefault(target, []).append(100 * float(np.bincount(answer).max()) / len(answer))
                for half in HALVES:
                    for place, block in enumerate(blocks):
                        found = held_out_accuracy(halves[half][:, place], answer, pictures, seed)
                        by_block = accuracies.setdefault(target, {}).setdefault(half, {})
                        by_block.setdefault(block, []).append(found)
    return accuracies, {target: float(np.mean(values)) for target, values in chance.items()}


def _seen(
    bench: Workbench, seed: int, blocks: Sequence[int]
) -> tuple[dict[Half, NDArray[np.float32]], dict[str, NDArray[np.int64]], NDArray[np.int64]]:
    """Pooled halves of every frame, clean ones among them, what is to be told of it, and its picture."""
    frames = bench.frames("continual", seed)
    shown = [*frames.part.clean, *frames.shown]
    halves = pooled_halves(bench.backbone.model, bench.preprocessor, [frame.image for frame in shown], blocks)
    domains = list(dict.fromkeys(frame.domain for frame in shown))
    targets = {"domain": np.array([domains.index(frame.domain) for frame in shown], dtype=np.int64)}
    labels = np.array([frame.label for frame in shown], dtype=np.int64)
    pictures = np.array([frame.picture for frame in shown], dtype=np.int64)
    classes = class_targets(labels, pictures, int(bench.backbone.model.num_classes))  # type: ignore[arg-type]
    return halves, {**targets, **classes}, pictures


def _curve(by_block: Mapping[int, Sequence[float]]) -> Curve:
    """Mean over seeds at each block, with the lowest and the highest."""
    return curve_of({float(b + 1): Difference(float(np.mean(v)), min(v), max(v)) for b, v in by_block.items()})


def _draw(path: Path, *, panels: Mapping[str, Mapping[Half, Curve]], chance: Mapping[str, float]) -> None:
    plot_curves(
        path,
        {
            f"{target} (chance {chance[target]:.0f} %)": {str(half): curve for half, curve in curves.items()}
            for target, curves in panels.items()
        },
        x_label="block",
        y_label="accuracy of a linear probe (%)",
        title=_TITLE,
    )


ACTIVATIONS = Experiment(
    question="Do weak activations tell of the domain, and strong ones of the class?",
    methods=("source",),
    study=study_activations,
)
