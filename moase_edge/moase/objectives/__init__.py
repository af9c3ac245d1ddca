"""What an update minimises: one objective a file, chosen by name, combined with weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from moase_edge.errors import ConfigError
from moase_edge.moase.choice import choose
from moase_edge.moase.objectives.alignment import alignment
from moase_edge.moase.objectives.consistency import consistency
from moase_edge.moase.objectives.entropy import entropy
from moase_edge.moase.objectives.reverse_kl import reverse_kl
from moase_edge.moase.objectives.soft_likelihood_ratio import soft_likelihood_ratio
from moase_edge.moase.objectives.views import FeatureMoments, Objective, Views, without_source

OBJECTIVES: dict[str, Objective] = {
    "consistency": consistency,
    "alignment": alignment,
    "entropy": entropy,
    "soft-likelihood-ratio": soft_likelihood_ratio,
    "reverse-kl": reverse_kl,
}
NEEDS_SOURCE = frozenset({"alignment"})

Name = TypeVar("Name", bound=str)


def choose_objectives(
    weights: Mapping[Name, float], source: FeatureMoments | None
) -> list[tuple[Objective, float]]:
    """The objectives of these names, with their weights.

    Raises:
        ConfigError: no name, an unknown one, or one that needs source moments where there are none.
    """
    if not weights:
        raise ConfigError(f"nothing to minimise: name one or more of {', '.join(OBJECTIVES)}.")
    chosen = [(choose("objective", OBJECTIVES, name), weight) for name, weight in weights.items()]
    if source is None:
        for name in NEEDS_SOURCE & weights.keys():
            raise ConfigError(without_source(name))
    return chosen


__all__ = [
    "NEEDS_SOURCE",
    "OBJECTIVES",
    "FeatureMoments",
    "Objective",
    "Views",
    "alignment",
    "choose_objectives",
    "consistency",
    "entropy",
    "reverse_kl",
    "soft_likelihood_ratio",
    "without_source",
]
