"""From what a user names to an int8 engine in an artifact: open, choose frames, find, replace, report."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from moase_edge.artifact.calibration import CALIBRATION_FILE, CalibrationRecord
from moase_edge.artifact.files import refuse_existing
from moase_edge.artifact.store import Artifact
from moase_edge.calib.int8_report import write_int8_report
from moase_edge.calib.observe import observations_folder
from moase_edge.calib.on_int8 import Int8Work, SourceImages, calibrate_int8, read_labels, refuse_int8
from moase_edge.calib.representative import representative_frames
from moase_edge.calib.search import Announce, refuse_too_few
from moase_edge.calib.source_data import open_source_data
from moase_edge.config.base import load_settings
from moase_edge.config.calib import QuantiseSettings, RepresentativeSettings, SearchSettings
from moase_edge.config.names import CalibrationMethod, RangeMethod
from moase_edge.frames.open import open_source

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Int8Request:
    """What an int8 engine is made from, and how.

    Attributes:
        data: frames like those of the deployment: a folder of pictures, a video, a camera.
        method: of ranges; `auto` tries all.
        max_drop: points of top-1 that may be lost.
        least_int8: share of the multiply-adds that must stay in int8.
        attention: the two products of attention may be int8 too.
        source: images of the source domain for source statistics; None takes none.
        max_images: take no more than the first so many of `source`.
        first: it goes before the other engines.
        report: folder for a report; None writes none.
    """

    data: str
    method: CalibrationMethod = "auto"
    max_drop: float = 1.0
    least_int8: float = 0.8
    attention: bool = False
    source: str | None = None
    max_images: int | None = None
    first: bool = False
    report: Path | None = None


def make_int8(
    artifact: Artifact, request: Int8Request, *, force: bool = False, announce: Announce = logger.info
) -> tuple[Artifact, CalibrationRecord]:
    """Give an artifact an int8 engine; see `calibrate_int8`.

    Raises:
        ConfigError: settings or data that cannot be used; an int8 engine or a report is there without `force`.
        CalibrationError: frames that give no range, or too few, or labels that do not fit.
        GateError: no mixture of int8 and float keeps the budget; the artifact stays as it was.
        SourceError: the data was lost, or holds nothing that can be decoded.
        ArtifactError, StorageError: as `calibrate_int8`.
    """
    search = _search(request)
    refuse_int8(artifact, force=force)
    if request.report is not None:
        refuse_existing(request.report, force=force, marker=CALIBRATION_FILE)
    labels = read_labels(Path(request.data), artifact.manifest.sidecar.classes)
    with contextlib.ExitStack() as stack:
        images = _images(request, stack)
        frames = stack.enter_context(open_source(request.data))
        announce("choosing frames")
        chosen = representative_frames(frames, artifact.manifest.preprocess, RepresentativeSettings())
        refuse_too_few(len(chosen.frames), search.hold_out)
        written, record = calibrate_int8(
            artifact,
            chosen,
            Int8Work(
                QuantiseSettings(attention=request.attention),
                search,
                images=images,
                first=request.first,
                cache=observations_folder(),
                announce=announce,
            ),
            labels=labels,
            force=force,
        )
    if request.report is not None:
        write_int8_report(request.report, record, title=f"int8 of {artifact.manifest.name}")
    return written, record


def _search(request: Int8Request) -> SearchSettings:
    methods = get_args(RangeMethod) if request.method == "auto" else (request.method,)
    return load_settings(
        SearchSettings, {"methods": methods, "max_drop": request.max_drop, "least_int8": request.least_int8}
    )


def _images(request: Int8Request, stack: contextlib.ExitStack) -> SourceImages | None:
    """Images for source statistics, opened before the long work; `stack` closes them."""
    if request.source is None:
        return None
    return SourceImages(stack.enter_context(open_source_data(request.source)), request.max_images)
