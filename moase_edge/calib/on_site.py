"""Source statistics for an artifact that was made without, from frames its user vouches for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.manifest import Manifest, Precision, SourceStatisticsEntry
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact
from moase_edge.calib.source_data import write_source_statistics
from moase_edge.calib.twin import open_each
from moase_edge.engines.base import Engine
from moase_edge.errors import ConfigError
from moase_edge.frames.source import Source

logger = logging.getLogger(__name__)


def calibrate_source(
    artifact: Artifact, source: Source, *, max_images: int | None = None, force: bool = False
) -> Artifact:
    """Record source statistics and put an artifact that holds them in the place of `artifact`.

    Every precision gets its own that has none yet, with `force` every one, all from the same images; so that the
    next engine that is chosen finds some. Whatever ends this before leaves the old artifact as it was
    (`replace_artifact`). Every other file stays the same byte for byte, and so does the identity.

    Args:
        artifact: loaded and verified.
        source: pictures or a video (see `open_source_data`).
        max_images: take no more than the first ones.
        force: replace statistics that are there.

    Raises:
        ConfigError: it holds all statistics and `force` is not given, or its folder cannot be replaced.
        ArtifactError: it cannot be trusted, or was changed meanwhile.
        CalibrationError: too few images, or values that are not finite.
        EngineError: no engine of it runs here.
        SourceError: the source was lost, or holds nothing that can be decoded.
        StorageError: the folder's place cannot be written.
    """
    manifest = artifact.manifest
    wanted = precisions_of(manifest) if force else without_statistics(manifest)
    if not wanted:
        raise ConfigError(
            f"{artifact.folder} holds source statistics {_those(manifest)}. Give --force to replace them."
        )
    with ExitStack() as stack:
        engines = open_each(artifact, wanted, stack)
        replaced = [of.file for of in manifest.source_statistics if of.precision in engines]
        change = partial(_recorded, artifact, engines, source, max_images)
        return replace_artifact(artifact, change, dropped=replaced)


def precisions_of(manifest: Manifest) -> tuple[Precision, ...]:
    """The precisions of an artifact's engines, but for those whose every engine failed its parity gate."""
    sound = (entry for entry in manifest.engines if entry.parity is None or entry.parity.passed)
    return tuple(dict.fromkeys(entry.precision for entry in sound))


def without_statistics(manifest: Manifest) -> tuple[Precision, ...]:
    """Those of `precisions_of` that have no source statistics."""
    return tuple(of for of in precisions_of(manifest) if manifest.statistics_at(of) is None)


def beside_others(
    manifest: Manifest, made: tuple[SourceStatisticsEntry, ...]
) -> tuple[SourceStatisticsEntry, ...]:
    """An artifact's statistics with new ones, each in place of that of its precision."""
    precisions = {entry.precision for entry in made}
    return (*(of for of in manifest.source_statistics if of.precision not in precisions), *made)


def _those(manifest: Manifest) -> str:
    """From how many images of what the statistics are, in words; each source once."""
    of_each = (f"from {entry.count} images of {entry.data}" for entry in manifest.source_statistics)
    return " and ".join(dict.fromkeys(of_each))


def _recorded(
    artifact: Artifact,
    engines: Mapping[Precision, Engine],
    source: Source,
    max_images: int | None,
    building: Path,
) -> dict[str, Any]:
    """Write the statistics, and give the manifest's field that changes."""
    manifest = artifact.manifest
    sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
    made = write_source_statistics(
        building, engines, sidecar, manifest.preprocess, source, command="calibrate", max_images=max_images
    )
    return {"source_statistics": beside_others(manifest, made)}
