"""What `state` does once its arguments are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moase_edge.adapt.state_file import Binding, binding_of, differences, read_snapshot
from moase_edge.artifact.store import Artifact, newest_artifact, read_manifest
from moase_edge.cli.run_state import default_folder
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.base import load_settings
from moase_edge.errors import ArtifactError, ConfigError
from moase_edge.runtime.snapshot_folder import SnapshotFolder


@dataclass(frozen=True, slots=True)
class OpenedState:
    """Snapshots, and the artifact that they may be of; None where none was found."""

    folder: SnapshotFolder
    artifact: Artifact | None

    def unfit(self, binding: Binding) -> list[str] | None:
        """What a snapshot differs from the artifact in; None where there is no artifact to compare with."""
        if self.artifact is None:
            return None
        expected = binding_of(self.artifact, AdaptSettings(), binding.precision)
        # Settings are those of a run, and the artifact has none.
        return differences(binding, expected.model_copy(update={"settings": binding.settings}))

    def named(self, name: str | None) -> Path:
        """The snapshot of that name, or the newest.

        Raises:
            ConfigError: there is none.
        """
        if name is not None:
            return self.folder.named(name)
        paths = self.folder.snapshots()
        if not paths:
            raise ConfigError(f"{self.folder.path} holds no snapshot. `moase-edge run --state DIR` keeps some.")
        return paths[0]


def opened_state(folder: Path | None, artifact: Path | None) -> OpenedState:
    """The snapshots in a folder, or those of an artifact.

    Raises:
        ConfigError: neither is named, and there is no artifact.
        ArtifactError: the artifact that was named cannot be read.
    """
    if artifact is None and folder is not None:
        return OpenedState(SnapshotFolder(folder), _found_artifact())
    named = artifact or newest_artifact()
    loaded = Artifact(named, read_manifest(named))
    return OpenedState(SnapshotFolder(folder or default_folder(named)), loaded)


def _found_artifact() -> Artifact | None:
    try:
        found = newest_artifact()
        return Artifact(found, read_manifest(found))
    except (ConfigError, ArtifactError):
        return None


def roll_back(opened: OpenedState, name: str | None) -> Iterator[str]:
    """Make a snapshot the newest; by default the one before it.

    Raises:
        ConfigError: there is none, or a run uses the folder.
        ArtifactError: it is damaged.
        StorageError: the folder cannot be written.
    """
    paths = opened.folder.snapshots()
    if name is None and len(paths) < 2:
        raise ConfigError(
            f"{opened.folder.path} holds none before the newest. Name one: `moase-edge state list` shows them."
        )
    target = opened.folder.named(name) if name is not None else paths[1]
    frames = read_snapshot(target).header.frames
    with opened.folder.locked():
        place = opened.folder.roll_back_to(target)
    later = [path for path in paths if path.name > place.name]
    yield f"`run --resume` goes on from {place.name}, which learned from {frames} frames"
    if later:
        yield f"set aside: {', '.join(path.name for path in reversed(later))}"


def clear(opened: OpenedState, *, force: bool) -> str:
    """Remove every snapshot.

    Raises:
        ConfigError: not forced, or a run uses the folder.
        StorageError: the folder cannot be written.
    """
    count = len(opened.folder.snapshots()) + len(opened.folder.aside())
    if not force:
        raise ConfigError(
            f"{count} snapshots in {opened.folder.path} would be removed for good. Give --force to do so; "
            "`moase-edge state rollback` sets them aside instead."
        )
    with opened.folder.locked():
        removed = opened.folder.clear()
    return f"removed {removed} snapshots from {opened.folder.path}; the next run starts from the artifact"


def bake_snapshot(opened: OpenedState, name: str | None, out: Path, *, force: bool) -> Iterator[str]:
    """Write one plain ONNX file.

    Raises:
        ConfigError: no such snapshot, or `out` exists.
        ArtifactError: there is no artifact, or the snapshot does not fit it.
        ExportError, GateError: the graph cannot be made, or does not answer as it should.
        StorageError: `out` cannot be written.
    """
    from moase_edge.export.bake import bake

    path = opened.named(name)
    if opened.artifact is None:
        raise ConfigError("name the artifact that the state was learned with: --artifact DIR.")
    if out.exists() and not force:
        raise ConfigError(f"{out} exists. Give --force to replace it, or another name.")
    opened.artifact.verify()
    snapshot = read_snapshot(path)
    unfit = opened.unfit(snapshot.header.binding)
    if unfit:
        listed = "; ".join(unfit)
        raise ArtifactError(f"{path} is not of {opened.artifact.folder}: {listed}. Name its own with --artifact.")
    settings = load_settings(AdaptSettings, snapshot.header.binding.settings)
    report = bake(opened.artifact, settings, snapshot.state(), out, precision=snapshot.header.binding.precision)
    yield f"wrote {out}: {report.domains} domains, {report.steered} of them steered"
    yield f"off `run --adapt hold` by {report.deviation:.1e} at most (relative) over {report.images} images"
