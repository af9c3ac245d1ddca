"""Without adaptation against with: the source, MoASE as published, MoASE on the split, and what ships."""

from __future__ import annotations

from functools import partial

from moase_edge.bench.experiments.errors_by_domain import study_errors
from moase_edge.bench.experiments.spec import Experiment
from moase_edge.bench.methods.variants import FULL

ADAPTATION = Experiment(
    question="What does adapting gain over the frozen model?",
    methods=("paper", FULL, "edge"),
    study=partial(study_errors, title="Without adaptation and with"),
    steers=True,
)
