"""Source statistics for an artifact that was made without, from frames its user vouches for."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.files import new_folder
from moase_edge.artifact.manifest import Manifest
from moase_edge.artifact.source_statistics import SOURCE_STATISTICS_FILE
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact, read_manifest, write_manifest
from moase_edge.calib.source_data import write_source_statistics
from moase_edge.engines.choose import open_engine
from moase_edge.errors import ArtifactError, ConfigError
from moase_edge.frames.source import Source


def calibrate_source(
    artifact: Artifact, source: Source, *, max_images: int | None = None, force: bool = False
) -> Artifact:
    """Record source statistics and put an artifact that holds them in the place of `artifact`.

    The new folder is built beside the old one and takes its name at the end; whatever ends this before leaves the
    old one as it was. Every other file stays the same byte for byte, and so does the identity.

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
    manifest, folder = artifact.manifest, _replaceable(artifact.folder)
    there = manifest.statistics_at(manifest.engines[0].precision)
    if there is not None and not force:
        raise ConfigError(
            f"{artifact.folder} holds source statistics from {there.count} images of {there.data}. "
            "Give --force to replace them."
        )
    with new_folder(folder, force=True, marker=MANIFEST) as building:
        with closing(open_engine(artifact)) as engine:
            sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
            entry = write_source_statistics(
                building,
                engine,
                sidecar,
                manifest.preprocess,
                source,
                precision=manifest.engines[0].precision,
                command="calibrate",
                max_images=max_images,
            )
        others = [other for other in manifest.source_statistics if other != there]
        kept = [name for name in manifest.files if there is None or name != there.file]
        _copy(artifact.folder, building, kept)
        written = write_manifest(building, {**manifest.model_dump(), "source_statistics": (*others, entry)})
        _refuse_changed(manifest, written, kept)
        _copy(artifact.folder, building, _unnamed_files(artifact))
        if read_manifest(folder) != manifest:
            raise ArtifactError(f"{artifact.folder} was replaced meanwhile; it is left as it is. Calibrate again.")
    return load_artifact(artifact.folder, verify=False)


def _replaceable(folder: Path) -> Path:
    """The artifact's real folder, which a rename can replace."""
    real = folder.resolve()
    if real in (Path.cwd(), *Path.cwd().parents):
        raise ConfigError(f"{folder} is replaced as a whole, and this command runs inside it. Go out of it first.")
    return real


def _copy(folder: Path, building: Path, names: list[str]) -> None:
    for name in names:
        (building / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder / name, building / name)


def _refuse_changed(before: Manifest, after: Manifest, kept: list[str]) -> None:
    changed = [name for name in kept if before.files[name] != after.files[name]]
    if changed:
        raise ArtifactError(f"{', '.join(changed)} changed while it was copied. Look at the disk, and try again.")


def _unnamed_files(artifact: Artifact) -> list[str]:
    """Files beside the artifact's own, a user's notes perhaps: kept, and still vouched for by nothing."""
    named = {*artifact.manifest.files, MANIFEST, SOURCE_STATISTICS_FILE}
    files = (path for path in artifact.folder.rglob("*") if path.is_file())
    return [name for path in files if (name := path.relative_to(artifact.folder).as_posix()) not in named]
