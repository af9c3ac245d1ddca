"""Put a changed artifact in the place of another: immutable folders, swapped by rename."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from moase_edge.artifact.files import new_folder
from moase_edge.artifact.manifest import Manifest
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact, read_manifest, write_manifest
from moase_edge.errors import ArtifactError, ConfigError


def replace_artifact(
    artifact: Artifact, change: Callable[[Path], Mapping[str, Any]], *, dropped: Collection[str] = ()
) -> Artifact:
    """Put an artifact with changes in the place of `artifact`.

    The new folder is built beside the old one and takes its name at the end; whatever ends this before leaves the
    old one as it was. Every file that `change` does not write stays the same byte for byte.

    Args:
        artifact: loaded and verified.
        change: writes new files into the folder it is given, and returns the fields of the manifest that change.
        dropped: files of the old one that the new one does without.

    Raises:
        ConfigError: its folder cannot be replaced.
        ArtifactError: it was changed or replaced meanwhile.
        StorageError: the folder's place cannot be written.
        MoaseEdgeError: whatever `change` raises.
    """
    manifest, folder = artifact.manifest, _replaceable(artifact.folder)
    confirm = partial(_refuse_replaced, artifact, folder)
    with new_folder(folder, force=True, marker=MANIFEST, confirm=confirm) as building:
        fields = change(building)
        kept = [name for name in manifest.files if name not in dropped and not (building / name).exists()]
        _copy(artifact.folder, building, kept)
        written = write_manifest(building, {**manifest.model_dump(), **fields})
        _refuse_changed(manifest, written, kept)
        _copy(artifact.folder, building, _unnamed_files(artifact, building))
    return load_artifact(artifact.folder, verify=False)


def _replaceable(folder: Path) -> Path:
    """The artifact's real folder, which a rename can replace."""
    real = folder.resolve()
    if real in (Path.cwd(), *Path.cwd().parents):
        raise ConfigError(f"{folder} is replaced as a whole, and this command runs inside it. Go out of it first.")
    return real


def _refuse_replaced(artifact: Artifact, folder: Path) -> None:
    if read_manifest(folder) != artifact.manifest:
        raise ArtifactError(f"{artifact.folder} was replaced meanwhile; it is left as it is. Try again.")


def _copy(folder: Path, building: Path, names: list[str]) -> None:
    for name in names:
        (building / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder / name, building / name)


def _refuse_changed(before: Manifest, after: Manifest, kept: list[str]) -> None:
    changed = [name for name in kept if before.files[name] != after.files[name]]
    if changed:
        raise ArtifactError(f"{', '.join(changed)} changed while it was copied. Look at the disk, and try again.")


def _unnamed_files(artifact: Artifact, building: Path) -> list[str]:
    """Files beside the artifact's own, a user's notes perhaps: kept, and still vouched for by nothing."""
    files = (path for path in artifact.folder.rglob("*") if path.is_file())
    names = (path.relative_to(artifact.folder).as_posix() for path in files)
    return [name for name in names if name not in artifact.manifest.files and not (building / name).exists()]
