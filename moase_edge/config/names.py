"""Names that settings and the command line choose from; imports nothing, so that help is instant."""

from __future__ import annotations

from typing import Literal

Preset = Literal["edge", "paper", "official"]
EngineName = Literal["auto", "ort", "ort-cuda"]
PlanEngine = Literal["ort", "auto", "tensorrt", "tensorrt-rtx"]
Pace = Literal["real", "full"]
