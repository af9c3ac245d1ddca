"""The images that source statistics are taken from, and the files that come of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.artifact.manifest import Precision, SourceStatisticsEntry
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.artifact.source_statistics import FEWEST_TO_CORRECT, save_source_statistics, statistics_file
from moase_edge.calib.source_statistics import FEWEST_IMAGES, record_of_each, too_few
from moase_edge.engines.base import Engine
from moase_edge.errors import CalibrationError, ConfigError
from moase_edge.frames.open import open_source
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.frames.source import Source

# Fewer leave the spread of many channels so uncertain that weak shifts are not told from chance.
_ENOUGH_IMAGES = 50

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
    engines: Mapping[Precision, Engine],
    sidecar: Sidecar,
    preprocess: PreprocessSpec,
    source: Source,
    *,
    command: Literal["export", "calibrate"],
    max_images: int | None = None,
) -> tuple[SourceStatisticsEntry, ...]:
    """Record a source's statistics on engines that see the same images, write them into `folder`, and list them.

    Files that cannot be decoded do not count; warnings tell how many there are, and of too few images.

    Args:
        folder: of an artifact that is being built.
        engines, sidecar: as `record_of_each` takes them.
        command: that records them.
        max_images: take no more.

    Raises:
        As `record_source_statistics`; StorageError: a file cannot be written.
    """
    images = islice(source.frames(), max_images)
    recorded = record_of_each(engines, sidecar, Preprocessor(preprocess), images)
    (count,) = {statistics.count for statistics in recorded.values()}
    _warn_of_few(source, count)
    for precision, statistics in recorded.items():
        save_source_statistics(statistics, folder / statistics_file(precision))
    return tuple(
        SourceStatisticsEntry(
            file=statistics_file(precision),
            data=plain_name(source.name),
            count=count,
            precision=precision,
            engine=engine.name,
            command=command,
        )
        for precision, engine in engines.items()
    )


def _warn_of_few(source: Source, count: int) -> None:
    """Say how many images could not be decoded, and whether the others are too few."""
    left_out = source.counts.skipped + source.counts.missing
    if left_out:
        logger.warning(
            "%d images of %s could not be decoded; the statistics are of the other %d",
            left_out,
            source.name,
            count,
        )
    if count < _ENOUGH_IMAGES:
        logger.warning(
            "the source statistics are of %d images: weak shifts will not be told from chance, and of fewer than "
            "%d nothing is corrected at all. Give %d or more of what the model was trained for.",
            count,
            FEWEST_TO_CORRECT,
            _ENOUGH_IMAGES,
        )


def plain_name(name: str) -> str:
    """The last folder or file that a source's name spells out, without the path to it: `a/b/*.jpg` -> `b`."""
    path = Path(name)
    while set(path.name) & set("*?["):
        path = path.parent
    last = path.name if path.name not in ("", "..") else path.resolve().name
    return last or "pictures"
