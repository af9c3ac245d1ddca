"""What `calibrate` does once its arguments are known."""

from __future__ import annotations

from moase_edge.artifact.calibration import CalibrationRecord
from moase_edge.artifact.store import Artifact, load_artifact, newest_artifact
from moase_edge.calib.command import Int8Request, make_int8
from moase_edge.calib.on_site import calibrate_source
from moase_edge.calib.source_data import open_source_data
from moase_edge.cli.calibrate import CalibrateArguments
from moase_edge.cli.calibrate_view import announce


def calibrated(given: CalibrateArguments) -> tuple[Artifact, CalibrationRecord | None]:
    """The artifact with what was asked for; and what became of an int8 engine, where that was."""
    artifact = load_artifact(given.artifact or newest_artifact())
    if given.calib_data is not None:
        return make_int8(artifact, _request(given, given.calib_data), force=given.force, announce=announce)
    with open_source_data(given.source or "") as images:
        return calibrate_source(artifact, images, max_images=given.max_frames, force=given.force), None


def _request(given: CalibrateArguments, data: str) -> Int8Request:
    return Int8Request(
        data,
        method=given.int8.method,
        max_drop=given.int8.max_drop,
        least_int8=given.int8.min_int8 / 100,
        attention=given.int8.attention,
        source=given.source,
        max_images=given.max_frames,
        first=given.int8.first,
        report=given.int8.report,
    )
