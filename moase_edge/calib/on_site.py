"""Source statistics for an artifact that was made without, from frames its user vouches for."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact
from moase_edge.calib.source_data import write_source_statistics
from moase_edge.engines.base import precision_of
from moase_edge.engines.open import open_engine
from moase_edge.errors import ConfigError
from moase_edge.frames.source import Source


def calibrate_source(
    artifact: Artifact, source: Source, *, max_images: int | None = None, force: bool = False
) -> Artifact:
    """Record source statistics and put an artifact that holds them in the place of `artifact`.

    Whatever ends this before leaves the old one as it was (`replace_artifact`). Every other file stays the same
    byte for byte, and so does the identity.

    Args:
        artifact: loaded and verified.
        source: pictures or a video (see `open_source_data`).
        max_images: take no more than the first ones.
        force: replace statistics that are there.

    Raises:
        ConfigError: it holds statistics and `force` is not given, or its folder cannot be replaced.
        ArtifactError: it cannot be trusted, or was changed meanwhile.
        CalibrationError: too few images, or values that are not finite.
        EngineError: no engine of it runs here.
        SourceError: the source was lost, or holds nothing that can be decoded.
        StorageError: the folder's place cannot be written.
    """
    manifest = artifact.manifest
    with closing(open_engine(artifact)) as engine:
        precision = precision_of(engine)
        there = manifest.statistics_at(precision)
        if there is not None and not force:
            raise ConfigError(
                f"{artifact.folder} holds source statistics from {there.count} images of {there.data}. "
                "Give --force to replace them."
            )

        def record(building: Path) -> dict[str, Any]:
            sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
            entry = write_source_statistics(
                building,
                engine,
                sidecar,
                manifest.preprocess,
                source,
                precision=precision,
                command="calibrate",
                max_images=max_images,
            )
            others = [other for other in manifest.source_statistics if other != there]
            return {"source_statistics": (*others, entry)}

        return replace_artifact(artifact, record, dropped=() if there is None else (there.file,))
