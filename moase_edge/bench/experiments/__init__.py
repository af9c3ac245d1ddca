"""Experiments: presets of a benchmark, each with a question and a figure of its own (docs/experiments.md)."""

from __future__ import annotations

from moase_edge.bench.experiments.activations import ACTIVATIONS
from moase_edge.bench.experiments.adaptation import ADAPTATION
from moase_edge.bench.experiments.experts import NUMBER_OF_EXPERTS
from moase_edge.bench.experiments.other_camera import OTHER_CAMERA
from moase_edge.bench.experiments.parts import PARTS_IN_TURN
from moase_edge.bench.experiments.placement import PLACEMENT
from moase_edge.bench.experiments.sdd import THRESHOLD
from moase_edge.bench.experiments.spec import Experiment, Study
from moase_edge.moase.choice import choose

EXPERIMENTS: dict[str, Experiment] = {
    "adaptation": ADAPTATION,
    "parts": PARTS_IN_TURN,
    "experts": NUMBER_OF_EXPERTS,
    "sdd": THRESHOLD,
    "activations": ACTIVATIONS,
    "other-camera": OTHER_CAMERA,
    "placement": PLACEMENT,
}


def experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        ConfigError: there is none; lists those that there are.
    """
    return choose("experiment", EXPERIMENTS, name)


__all__ = ["EXPERIMENTS", "Experiment", "Study", "experiment"]
