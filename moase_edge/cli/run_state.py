"""What `run` does about the learned state: where it is kept, and what it goes on from."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from moase_edge.cli.run import StateArguments
from moase_edge.config.base import load_settings
from moase_edge.config.state import SnapshotSettings
from moase_edge.errors import ConfigError
from moase_edge.frames.source import Source
from moase_edge.runtime.method import Stateful
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.scheduler import parse_schedule
from moase_edge.runtime.snapshot_folder import DEFAULT_ROOT, SnapshotFolder
from moase_edge.runtime.snapshots import Position, Snapshots


def snapshot_settings(given: StateArguments) -> SnapshotSettings:
    """How often the state is written, and how long it is kept.

    Raises:
        ConfigError: out of range.
    """
    named = {"every_s": given.every_s, "keep": given.keep, "keep_days": given.keep_days}
    return load_settings(SnapshotSettings, {name: value for name, value in named.items() if value is not None})


def refuse_useless_state(given: StateArguments, adapt: str) -> None:
    """Raise where there will be no state.

    Raises:
        ConfigError: the mode learns nothing and goes on from nothing; settings out of range.
    """
    snapshot_settings(given)
    schedule = parse_schedule(adapt)
    if not given.wanted:
        return
    if not schedule.sidecar:
        raise ConfigError(f"--adapt {adapt} answers with the frozen model, which has no state. Leave --state out.")
    if schedule.every is None and not given.resume:
        raise ConfigError(
            f"--adapt {adapt} learns nothing that could be kept. Give --resume too, to answer with what an "
            "earlier run learned."
        )


def default_folder(artifact: Path) -> Path:
    """Where the state of an artifact is kept unless told otherwise."""
    return DEFAULT_ROOT / artifact.resolve().name


def open_snapshots(
    given: StateArguments, pipeline: Pipeline, source: Source, stack: ExitStack
) -> tuple[Snapshots | None, Position | None]:
    """What keeps the state, and where the run goes on; the folder stays locked until the stack closes.

    Raises:
        ConfigError: another process uses the folder.
        ArtifactError: its newest snapshot is of something else.
    """
    method, binding = pipeline.method, pipeline.binding
    if not given.wanted or binding is None or not isinstance(method, Stateful):
        return None, None
    artifact = Path(pipeline.facts["artifact"])
    folder = SnapshotFolder(given.folder or default_folder(artifact))
    writes = parse_schedule(pipeline.schedule.mode).every is not None
    if writes:
        stack.enter_context(folder.locked(make=True))
    snapshots = Snapshots(
        folder, method, binding, artifact=artifact.resolve().name, settings=snapshot_settings(given), writes=writes
    )
    return snapshots, snapshots.resume(source) if given.resume else None
