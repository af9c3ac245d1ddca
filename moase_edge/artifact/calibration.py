"""What an artifact says of its int8 engine: how ranges were found, and which values the frames spanned."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from moase_edge.artifact.store import Artifact
from moase_edge.config.base import Settings, describe_faults
from moase_edge.errors import ArtifactError

CALIBRATION_FILE = "calibration.json"


class Coverage(Settings):
    """What was looked at of a source, and what was kept of it.

    Attributes:
        source: name of what was looked at.
        seen: frames that were looked at.
        taken: frames that were kept.
        duplicates: frames too near to one that was kept before.
        crowded_out: frames that were no duplicates, and gave way to ones that differ more.
        small: frames whose shorter side is less than half of the model's.
        coverage: 1 minus the mean squared distance of all frames seen to the nearest one kept, as a share of that
            to their mean; 1 where every frame has an equal, and where all are the same.
    """

    source: str
    seen: int
    taken: int
    duplicates: int
    crowded_out: int
    small: int
    coverage: float


class CalibrationFrames(Coverage):
    """The frames that ranges come from.

    Attributes:
        ranging, held_out: that ranges were taken from, and that judged them.
    """

    ranging: int
    held_out: int


class LayerRecord(Settings):
    """One product that may be int8.

    Attributes:
        layer: PyTorch module, or node of the graph.
        node: of the graph.
        int8: whether it is.
        multiply_adds: for one frame.
        ranges: magnitude up to which int8 reaches, by input; empty for one in float.
        signal_to_noise_db: of its inputs in int8, by input.
        gain: by which the relative feature error falls where it alone is in float; None where not measured.
    """

    layer: str
    node: str
    int8: bool
    multiply_adds: int
    ranges: dict[str, float]
    signal_to_noise_db: dict[str, float]
    gain: float | None


class LossRecord(Settings):
    """What a graph lost on held-out frames; see `calib.fidelity.Fidelity`."""

    agreement: float | None
    accuracy: float | None
    source_accuracy: float | None
    feature_error: float
    drop: float


class CalibrationRecord(Settings):
    """The content of calibration.json.

    Attributes:
        engine: the int8 graph.
        method: of its ranges.
        max_drop: the budget, in points; None where none was set, as by `export`.
        share: of the multiply-adds in int8.
        loss: of the graph.
        by_method: of every method, with all products in int8 that may be.
        spans: lowest and highest value of the images and outputs of the float graph over the frames.
    """

    engine: str
    method: str
    max_drop: float | None
    share: float
    frames: CalibrationFrames
    loss: LossRecord
    by_method: dict[str, LossRecord]
    layers: tuple[LayerRecord, ...]
    spans: dict[str, tuple[float, float]]


def save_calibration(record: CalibrationRecord, folder: Path) -> None:
    """Write calibration.json into the folder of an artifact that is being built; the same record, the same bytes.

    Raises:
        OSError: it cannot be written.
    """
    (folder / CALIBRATION_FILE).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load_calibration(artifact: Artifact) -> CalibrationRecord | None:
    """The record of an artifact; None where it has none. Needs neither PyTorch nor onnx.

    Raises:
        ArtifactError: it is missing although the manifest names it, or damaged.
    """
    if CALIBRATION_FILE not in artifact.manifest.files:
        return None
    path = artifact.path(CALIBRATION_FILE)
    try:
        return CalibrationRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as exc:
        faults = describe_faults(exc) if isinstance(exc, ValidationError) else str(exc)
        raise ArtifactError(
            f"{path} cannot be used: {faults}\nCalibrate again, or copy the artifact again."
        ) from exc
