"""What the benchmark knows of a method before it is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from moase_edge.bench.subject import Subject
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.runtime.method import Method


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method, how it is built, and where its hyper-parameters come from.

    Attributes:
        name: as METHODS names it.
        build: from a subject and a seed; raises ConfigError where the subject does not fit.
        hyper_parameters: plain values by name; for `edge` the shipped ones, which a subject may replace.
        reference: paper and code.
        whole_network: whether it runs the whole network in PyTorch rather than the split.
        needs_source_images: whether it cannot be built without pictures of the source domain.
        needs_batch_norm: whether it can only be built for a network with BatchNorm, which no vision transformer
            that moase-edge splits has.
        frame_cost: in frame times, as FRAME_COSTS has it; None where it stands there.
    """

    name: str
    build: Callable[[Subject, int], Method]
    hyper_parameters: Mapping[str, object]
    reference: str
    whole_network: bool = False
    needs_source_images: bool = False
    needs_batch_norm: bool = False
    frame_cost: float | None = None


def plain_moase(moase: MoaseSettings, adapt: AdaptSettings) -> dict[str, object]:
    """Settings of adapter and step, one beside the other, without the seed, for a report."""
    learner = adapt.model_dump(mode="json", exclude={"seed"})
    # JSON has no infinity, which is how the published steps leave gradients alone.
    learner["max_grad_norm"] = None if math.isinf(learner["max_grad_norm"]) else learner["max_grad_norm"]
    return {**moase.model_dump(mode="json"), **learner}
