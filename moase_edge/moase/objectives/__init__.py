"""What an update minimises: one objective a file, chosen by name, combined with weights."""

from __future__ import annotations

from moase_edge.moase.objectives.consistency import consistency
from moase_edge.moase.objectives.views import Objective, Views

OBJECTIVES: dict[str, Objective] = {"consistency": consistency}

__all__ = ["OBJECTIVES", "Objective", "Views", "consistency"]
