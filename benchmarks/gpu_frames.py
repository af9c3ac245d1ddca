"""The frames that engines are compared on, and that int8 takes its ranges from: photographs, else noise."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from moase_edge.artifact.calibration import Coverage
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.calib.pictures import Pictures, seeded_pictures
from moase_edge.calib.representative import Representative, representative_frames
from moase_edge.calib.search import dealt
from moase_edge.calib.source_data import plain_name
from moase_edge.config.calib import RepresentativeSettings, SearchSettings
from moase_edge.frames.open import open_source


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Preprocessed frames.

    Attributes:
        calibration: all of them; int8's ranges leave out those that are held out.
        shown: those that are held out, which engines are compared on.
    """

    calibration: Representative
    shown: Pictures


def data_file(name: str) -> Path | None:
    """A file or folder of the data that MOASE_EDGE_DATA names; None where it is not there."""
    folder = os.environ.get("MOASE_EDGE_DATA")
    found = Path(folder) / name if folder else None
    return found if found is not None and found.exists() else None


def frames_for(preprocess: PreprocessSpec, count: int, *, photos: Path | None, seed: int) -> Frames:
    """`count` frames to compare on, and those for the ranges beside them.

    Args:
        photos: folder of pictures, spread over which frames are taken; None for noise.
        seed: of the noise.

    Raises:
        SourceError, CalibrationError: the pictures cannot be used.
    """
    hold_out = SearchSettings().hold_out
    wanted = count * hold_out
    if photos is None:
        noise = seeded_pictures(preprocess, wanted, seed=seed)
        coverage = Coverage(
            source=noise.of, seen=wanted, taken=wanted, duplicates=0, crowded_out=0, small=0, coverage=1.0
        )
        chosen = Representative(list(noise.frames), [None] * wanted, coverage)
    else:
        with closing(open_source(str(photos))) as source:
            settings = RepresentativeSettings(most=wanted, looks=wanted)
            chosen = representative_frames(source, preprocess, settings)
    return Frames(chosen, Pictures(tuple(dealt(chosen.frames, hold_out)[1]), plain_name(chosen.coverage.source)))
