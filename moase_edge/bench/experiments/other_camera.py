"""Shifts that are no corruption, as another camera brings them: the source against what ships."""

from __future__ import annotations

from functools import partial

from moase_edge.bench.experiments.errors_by_domain import study_errors
from moase_edge.bench.experiments.spec import Experiment

OTHER_CAMERA = Experiment(
    question="Does adapting pay where nothing is corrupted, and only the camera is another?",
    methods=("edge",),
    study=partial(study_errors, title="Another camera"),
    corruptions=("colour_cast", "exposure", "jpeg", "resolution", "crop"),
    steers=True,
)
