"""The source model, frozen: what everything else is compared with."""

from __future__ import annotations

from moase_edge.bench.subject import Subject
from moase_edge.runtime.frozen import FrozenMethod


def build_source(subject: Subject, seed: int) -> FrozenMethod:  # noqa: ARG001 - nothing is random
    """The engine's own logits."""
    return FrozenMethod(subject.engine_for(subject.frozen_sidecar()))
