"""What an update minimises: one objective a file, chosen by name, combined with weights."""

from __future__ import annotations

from moase_edge.moase.objectives.consistency import consistency
from moase_edge.moase.objectives.reverse_kl import reverse_kl
from moase_edge.moase.objectives.views import Objective, Views

OBJECTIVES: dict[str, Objective] = {"consistency": consistency, "reverse-kl": reverse_kl}

__all__ = ["OBJECTIVES", "Objective", "Views", "consistency", "reverse_kl"]
