"""What to export."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from moase_edge.config.calib import QuantiseSettings
from moase_edge.config.moase import MoaseSettings
from moase_edge.config.names import PrecisionChoice
from moase_edge.config.precision import PrecisionSettings
from moase_edge.export.plan_targets import PlanRequest


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export.

    Attributes:
        backbone: short name, timm's name, or `digits_vit`.
        checkpoint, pretrained, num_classes, seed: as `build_backbone` takes them.
        labels: file with a name per class.
        adapt_blocks: k, how many of the last blocks get an adapter.
        moase: settings of the adapters.
        source_data: folder or glob of pictures, or a video, of the source domain; None records no statistics.
        steer: the engine takes a shift at the entrance of every block and returns token means.
        plans: which TensorRT plans are built from the graphs.
        precision: of the engine to run; `auto` keeps the fastest that holds parity with fp32.
        calib_data: folder or glob of pictures, or a video, as the device will see them: for int8's ranges, and for
            parity between precisions.
        precisions: thresholds of parity, and how the fastest is measured.
        quantise: how int8's ranges are taken.
    """

    backbone: str
    checkpoint: Path | None = None
    pretrained: bool | None = None
    num_classes: int | None = None
    labels: Path | None = None
    adapt_blocks: int = 1
    moase: MoaseSettings = field(default_factory=MoaseSettings)
    seed: int = 0
    source_data: str | None = None
    steer: bool = True
    plans: PlanRequest = field(default_factory=PlanRequest)
    precision: PrecisionChoice = "fp32"
    calib_data: str | None = None
    precisions: PrecisionSettings = field(default_factory=PrecisionSettings)
    quantise: QuantiseSettings = field(default_factory=QuantiseSettings)
