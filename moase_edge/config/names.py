"""Names that settings and the command line choose from; imports nothing, so that help is instant."""

from __future__ import annotations

from typing import Literal

Preset = Literal["edge", "paper", "official"]
MoasePart = Literal["sdd", "dag", "asg"]
EngineName = Literal["auto", "tensorrt", "tensorrt-rtx", "ort-cuda", "ort-tensorrt", "ort"]
LowerPrecision = Literal["fp16", "bf16", "int8"]
PrecisionChoice = Literal["fp32", "fp16", "bf16", "int8", "auto"]
PlanEngine = Literal["ort", "auto", "tensorrt", "tensorrt-rtx"]
Pace = Literal["real", "full"]
RangeMethod = Literal["minmax", "percentile", "entropy", "mse"]
CalibrationMethod = Literal["auto", "minmax", "percentile", "entropy", "mse"]
