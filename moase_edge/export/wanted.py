"""Which precisions are built; needs neither PyTorch nor onnx."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from moase_edge.artifact.manifest import EngineEntry, Manifest
from moase_edge.config.calib import QuantiseSettings
from moase_edge.config.names import LowerPrecision, PrecisionChoice
from moase_edge.config.precision import PrecisionSettings
from moase_edge.errors import ConfigError

# The first compute capability with bfloat16.
_BFLOAT16_SINCE = 80


@dataclass(frozen=True, slots=True)
class PrecisionRequest:
    """Precisions that an artifact which is there shall have.

    Attributes:
        choice: the one to run in; `auto` adds what holds parity, and leaves the choice to the first run.
        source_data: images of the source domain, for statistics; None takes none.
        calib_data: frames as the device sees them, for int8's ranges and for parity; None for neither.
        settings: thresholds of parity; None for the artifact's own.
        quantise: how int8's ranges are taken.
    """

    choice: PrecisionChoice
    source_data: str | None = None
    calib_data: str | None = None
    settings: PrecisionSettings | None = None
    quantise: QuantiseSettings = field(default_factory=QuantiseSettings)


def has_bfloat16(target: str) -> bool:
    """Whether a compute capability, as `sm86`, computes in bfloat16."""
    return int(target.removeprefix("sm")) >= _BFLOAT16_SINCE


def wanted_precisions(
    choice: PrecisionChoice, *, calibrated: bool, targets: Sequence[str]
) -> tuple[LowerPrecision, ...]:
    """Precisions to build beside fp32.

    Args:
        choice: what was asked for.
        calibrated: whether there are calibration frames.
        targets: compute capabilities that plans are built for, as `sm86`; none for ONNX Runtime alone.

    Raises:
        ConfigError: int8 without calibration frames, or bf16 for a GPU that has none.
    """
    lacking = [target for target in targets if not has_bfloat16(target)]
    if choice == "int8" and not calibrated:
        raise ConfigError(
            "int8 takes its ranges from frames like those it will see: name some hundred with --calib-data."
        )
    if choice == "bf16" and lacking:
        raise ConfigError(f"{', '.join(lacking)} has no bfloat16, which begins with sm80. Take --precision fp16.")
    if choice == "fp32":
        return ()
    if choice != "auto":
        return (choice,)
    # ONNX Runtime's CPU provider has no bfloat16, so that without a plan nothing here could run it.
    found: dict[LowerPrecision, bool] = {"fp16": True, "bf16": bool(targets) and not lacking, "int8": calibrated}
    return tuple(precision for precision, there in found.items() if there)


def lacking_precisions(
    manifest: Manifest, request: PrecisionRequest, targets: Sequence[str]
) -> tuple[LowerPrecision, ...]:
    """Precisions that are asked for and whose graph the artifact lacks.

    Raises:
        ConfigError: see `wanted_precisions`.
    """
    there = {entry.precision for entry in manifest.engines if entry.runtime == "onnx"}
    calibrated = request.calib_data is not None or "int8" in there
    wanted = wanted_precisions(request.choice, calibrated=calibrated, targets=targets)
    return tuple(precision for precision in wanted if precision not in there)


def refuse_needless_images(request: PrecisionRequest) -> None:
    """Refuse images where no graph has to be made.

    Raises:
        ConfigError: some are given.
    """
    if request.source_data is not None or request.calib_data is not None:
        raise ConfigError(
            f"the artifact holds every graph that --precision {request.choice} asks for, and images serve to make "
            "one: leave --source-data and --calib-data out. `moase-edge calibrate --source` records source "
            "statistics, `moase-edge calibrate --calib-data --force` makes another int8 engine."
        )


def graphs_to_build(engines: Sequence[EngineEntry], request: PrecisionRequest) -> tuple[EngineEntry, ...]:
    """The graphs that plans are built from: the one asked for, or of `auto` all."""
    graphs = (entry for entry in engines if entry.runtime == "onnx")
    return tuple(entry for entry in graphs if request.choice in ("auto", entry.precision))
