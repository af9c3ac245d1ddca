"""The images that source statistics are taken from, and the files that come of them."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path
from typing import Literal

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.artifact.manifest import Precision, SourceStatisticsEntry
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.artifact.source_statistics import save_source_statistics, statistics_file
from moase_edge.calib.source_statistics import FEWEST_IMAGES, record_source_statistics, too_few
from moase_edge.engines.base import Engine
from moase_edge.errors import CalibrationError, ConfigError
from moase_edge.frames.open import open_source
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.frames.source import Source

logger = logging.getLogger(__name__)


def open_source_data(uri: str) -> Source:
    """Open pictures or a video whose images are all of the source domain.

    Raises:
        ConfigError: a camera, or nothing that can be read.
        SourceError: no such file or folder, or one that cannot be read.
        CalibrationError: fewer images than a spread needs.
    """
    source = open_source(uri)
    if source.live:
        source.close()
        raise ConfigError(
            f"{source.name} is live and shows what it will; expected a folder or glob of pictures, or a "
            "video, that were looked at. Record some first."
        )
    if source.length is not None and source.length < FEWEST_IMAGES:
        source.close()
        raise CalibrationError(f"{source.name}: {too_few(source.length)}")
    return source


def write_source_statistics(
    folder: Path,
    engine: Engine,
    sidecar: Sidecar,
    preprocess: PreprocessSpec,
    source: Source,
    *,
    precision: Precision,
    command: Literal["export", "calibrate"],
    max_images: int | None = None,
) -> SourceStatisticsEntry:
    """Record the statistics of a source, write them into `folder`, and say what the manifest says of them.

    Files that cannot be decoded do not count; a warning tells how many there are.

    Args:
        folder: of an artifact that is being built.
        engine, sidecar: as `record_source_statistics` takes them.
        precision: of the engine.
        command: that records them, for the manifest.
        max_images: take no more than the first ones.

    Raises:
        As `record_source_statistics`; StorageError: the file cannot be written.
    """
    images = islice(source.frames(), max_images)
    statistics = record_source_statistics(engine, sidecar, Preprocessor(preprocess), images)
    left_out = source.counts.skipped + source.counts.missing
    if left_out:
        logger.warning(
            "%d images of %s could not be decoded; the statistics are of the other %d",
            left_out,
            source.name,
            statistics.count,
        )
    file = statistics_file(precision)
    save_source_statistics(statistics, folder / file)
    return SourceStatisticsEntry(
        file=file,
        data=plain_name(source.name),
        count=statistics.count,
        precision=precision,
        engine=engine.name,
        command=command,
    )


def plain_name(name: str) -> str:
    """The last folder or file that a source's name spells out, without the path to it: `a/b/*.jpg` -> `b`."""
    path = Path(name)
    while set(path.name) & set("*?["):
        path = path.parent
    last = path.name if path.name not in ("", "..") else path.resolve().name
    return last or "pictures"
