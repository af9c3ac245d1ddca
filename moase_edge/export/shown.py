"""The frames that precisions are compared on, and that int8 takes its ranges from."""

from __future__ import annotations

from collections.abc import Callable

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.calib.pictures import Pictures, pictures_at, seeded_pictures
from moase_edge.calib.representative import Representative, representative_frames
from moase_edge.calib.search import dealt
from moase_edge.calib.source_data import open_source_data, plain_name
from moase_edge.config.calib import RepresentativeSettings, SearchSettings
from moase_edge.config.precision import PrecisionSettings


def read_calibration(
    uri: str | None, preprocess: PreprocessSpec, announce: Callable[[str], None]
) -> Representative | None:
    """The calibration frames of a folder, glob or video; None where none is named.

    Raises:
        ConfigError, SourceError, CalibrationError: nothing that can be opened or read, or no range.
    """
    if uri is None:
        return None
    announce("reading the calibration frames")
    with open_source_data(uri) as frames:
        return representative_frames(frames, preprocess, RepresentativeSettings())


def shown_pictures(
    calibration: Representative | None,
    source_data: str | None,
    preprocess: PreprocessSpec,
    settings: PrecisionSettings,
    *,
    seed: int,
) -> Pictures:
    """What precisions are compared on: held-out calibration frames, else source images, else seeded noise."""
    if calibration is not None:
        held = dealt(calibration.frames, SearchSettings().hold_out)[1] or calibration.frames
        return Pictures(tuple(held), plain_name(calibration.coverage.source)).spread(settings.frames)
    if source_data is not None:
        return pictures_at(source_data, preprocess, settings.frames)
    return seeded_pictures(preprocess, settings.seeded_frames, seed=seed)
