"""Snapshots while a run lasts: written beside it, at intervals and at its end; gone back to at its start."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

from moase_edge.adapt.state_file import (
    STATE_SCHEMA,
    Binding,
    SnapshotHeader,
    SourcePosition,
    differences,
    encode_snapshot,
    read_snapshot,
)
from moase_edge.config.state import SnapshotSettings
from moase_edge.errors import AdaptationError, ArtifactError, ConfigError, StorageError
from moase_edge.frames.source import Source
from moase_edge.runtime.method import Following, Stateful, counts_of
from moase_edge.runtime.snapshot_folder import SnapshotFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands between two batches.

    Attributes:
        batches: that were answered.
        frames: index in the source of the frame that comes next.
    """

    batches: int = 0
    frames: int = 0


class Snapshots:
    """Keeps what a method learned in a folder.

    Writing happens in a thread of its own, so that a slow disk delays no answer. A snapshot that cannot be written
    costs a warning, once until one is written again, and is counted; the run goes on.

    Args:
        folder: of this run alone (see `SnapshotFolder.locked`).
        method: has a state.
        binding: what its state is bound to.
        artifact: name of the artifact's folder.
        settings: how often, and how many are kept.
        writes: False where nothing is learned, so that there is nothing to keep.
        clock_s: monotonic.

    Attributes:
        writes: whether it does; the folder may be another run's where it does not.
        written, failed: snapshots, so far.
        resumed_from: name of the snapshot that was gone back to at the start; None for none.
        passed_over: snapshots that could not be used then.
    """

    def __init__(
        self,
        folder: SnapshotFolder,
        method: Stateful,
        binding: Binding,
        *,
        artifact: str,
        settings: SnapshotSettings | None = None,
        writes: bool = True,
        clock_s: Callable[[], float] = monotonic,
    ) -> None:
        self.folder = folder
        self._method, self._binding, self._artifact = method, binding, artifact
        self._settings, self._clock_s = settings or SnapshotSettings(), clock_s
        self.writes = writes
        self.written = self.failed = self.passed_over = 0
        self.resumed_from: str | None = None
        self._frames = 0  # answered since the state was the artifact's own
        self._source: tuple[str, bool, int | None] = ("", True, None)
        self._writing: Thread | None = None
        self._failing = False
        self._begun_at = 0
        self._standing: Path | None = None
        self._next_s = self._clock_s() + self._settings.every_s

    def begin(self, source: Source, start: Position | None = None) -> None:
        """A run over this source begins, at this place in it."""
        self._source = (source.name, source.live, source.length)
        self._begun_at = (start or Position()).frames
        self._next_s = self._clock_s() + self._settings.every_s
        if self.writes:
            self.folder.remove_unfinished()

    def resume(self, source: Source) -> Position:
        """Load the newest snapshot that can be used; where the run goes on.

        A damaged snapshot is passed over with a warning; where none can be used, the state stays the artifact's.

        Raises:
            ArtifactError: the newest one that can be read is of another artifact or of other settings.
        """
        for path in self.folder.snapshots():
            header = self._resumed(path)
            if header is not None:
                self.resumed_from, self._frames = path.name, header.frames
                return self._position_in(source, header.position)
        logger.warning("%s holds no snapshot to resume from; the run starts anew.", self.folder.path)
        return Position()

    def _resumed(self, path: Path) -> SnapshotHeader | None:
        """The header of a snapshot that was loaded; None, and a warning, for one that is damaged."""
        try:
            snapshot = read_snapshot(path)
            unfit = differences(snapshot.header.binding, self._binding)
            if not unfit:
                self._method.load(snapshot.state())
                return snapshot.header
        except (ArtifactError, AdaptationError) as exc:
            self.passed_over += 1
            logger.warning("%s", exc)
            return None
        raise unfit_error(path, unfit)

    def _position_in(self, source: Source, stored: SourcePosition | None) -> Position:
        """Where to go on: only in a source that waits, that is the same, and that was not read to its end."""
        if stored is None or source.live or stored.ended:
            return Position()
        if (stored.name, stored.length) != (source.name, source.length):
            logger.warning(
                "the state was learned on %s up to frame %d; %s is read from its beginning.",
                stored.name,
                stored.frames,
                source.name,
            )
            return Position()
        return Position(stored.batches, stored.frames)

    def answered(self, frames: int, *, held: bool) -> None:
        """So many frames more were answered, and learned from unless `held`."""
        self._frames += frames
        if frames and self.writes and not held:
            self._standing = None  # the state is another by now: a rollback leads back to where it stood

    def between(self, position: Position) -> None:
        """Between two batches: write a snapshot where one is due; whatever goes wrong, the answers go on."""
        if not self.writes or self._clock_s() < self._next_s or self._is_writing():
            return
        self._next_s = self._clock_s() + self._settings.every_s
        try:
            made = self._made(position, ended=False)
            if made is not None:
                self._hand_over(partial(self._write, *made))
        except Exception as exc:
            self._count_failure(exc)

    def finish(self, position: Position | None, *, ended: bool) -> None:
        """The run is over: write what was learned last; whatever goes wrong, the report comes next.

        Args:
            position: where it stands; None amid a batch, where the state is neither before nor after a frame.
            ended: whether the source was read to its end.
        """
        self._wait()
        try:
            made = self._made(position, ended=ended) if self.writes and position is not None else None
        except Exception as exc:
            self._count_failure(exc)
            return
        if made is not None:
            self._write(*made)

    def take(self, position: Position) -> Future[Path]:
        """Copy the state now and have it written, after what is being written; its file, or a StorageError.

        Raises:
            AdaptationError: learning has failed, and left nothing that is worth keeping.
        """
        made = self._made(position, ended=False)
        if made is None:
            raise AdaptationError(
                "learning has failed in this run: there is nothing to keep. Reset, or roll back."
            )
        done: Future[Path] = Future()
        self._hand_over(partial(self._write_asked, done, *made))
        return done

    def roll_back(self, name: str | None = None) -> str:
        """Go back to a snapshot: the newest, or, where nothing was learned since the last rollback, the one
        before it. Later ones are set aside.

        Args:
            name: file name or number of one.

        Raises:
            ConfigError: there is none.
            ArtifactError, AdaptationError: it cannot be used; the state is left as it was.
            StorageError: the folder cannot be written; the state is left as it was.
        """
        self._wait()
        target = self.folder.named(name) if name is not None else self._previous()
        snapshot, before = read_snapshot(target), self._state_or_none()
        unfit = differences(snapshot.header.binding, self._binding)
        if unfit:
            raise unfit_error(target, unfit)
        try:
            self._method.load(snapshot.state())
            place = self.folder.roll_back_to(target)
        except (AdaptationError, StorageError):
            if before is not None:
                self._method.load(before)
            raise
        if isinstance(self._method, Following):
            self._method.start_run()  # the frames that it had at hand are long gone
        self._standing, self._frames = place, snapshot.header.frames
        return place.name

    def forget(self) -> None:
        """The state was reset: the next rollback goes to the newest snapshot."""
        self._standing, self._frames = None, 0

    def counts(self) -> dict[str, Any]:
        """For the report."""
        return {
            "folder": str(self.folder.path),
            "snapshots_written": self.written,
            "snapshots_failed": self.failed,
            "snapshots_passed_over": self.passed_over,
            "resumed_from": self.resumed_from,
            "resumed_at_frame": self._begun_at,
        }

    def _previous(self) -> Path:
        there = [path for path in self.folder.snapshots() if path != self._standing]
        if not there:
            raise ConfigError(f"{self.folder.path} holds no snapshot to go back to. Wait for one, or reset.")
        return there[0]

    def _state_or_none(self) -> object | None:
        with suppress(AdaptationError):  # the failure of the latest update, which a rollback leaves behind
            return self._method.state()
        return None

    def _made(self, position: Position, *, ended: bool) -> tuple[SnapshotHeader, object] | None:
        """Header and a copy of the state; None where learning has failed: its state may be half changed."""
        state = self._method.state()
        if state is None:
            return None
        name, live, length = self._source
        at = SourcePosition(
            name=name, length=length, frames=position.frames, batches=position.batches, ended=ended
        )
        header = SnapshotHeader(
            schema_version=STATE_SCHEMA,
            created_at=datetime.now(timezone.utc),
            artifact=self._artifact,
            binding=self._binding,
            frames=self._frames,
            position=None if live else at,
            counts=counts_of(self._method),  # type: ignore[arg-type]
            figures=self._method.figures(),
        )
        return header, state

    def _write(self, header: SnapshotHeader, state: object) -> None:
        try:
            self._kept(self.folder.write(encode_snapshot(header, state)))
        except Exception as exc:  # whatever it is, the answers go on
            self._count_failure(exc)

    def _write_asked(self, done: Future[Path], header: SnapshotHeader, state: object) -> None:
        try:
            path = self.folder.write(encode_snapshot(header, state))
            self._kept(path)
        except Exception as exc:  # goes to who asked
            done.set_exception(exc)
        else:
            done.set_result(path)

    def _count_failure(self, exc: Exception) -> None:
        self.failed += 1
        if not self._failing:
            logger.warning("no snapshot: %s The run goes on, and tries again.", exc)
        self._failing = True

    def _kept(self, path: Path) -> None:
        self.written += 1
        self._standing = None  # a rollback is to lead here
        if self._failing:
            logger.warning("snapshots are written again: %s", path)
        self._failing = False
        try:
            self.folder.prune(self._settings.keep, self._settings.keep_days)
        except StorageError as exc:  # the snapshot itself stands
            logger.debug("old snapshots stay: %s", exc)

    def _hand_over(self, job: Callable[[], None]) -> None:
        """Run a job in a thread, once what is being written is."""
        before = self._writing

        def work() -> None:
            if before is not None:
                before.join()
            job()

        self._writing = Thread(target=work, name="snapshot", daemon=True)
        self._writing.start()

    def _is_writing(self) -> bool:
        return self._writing is not None and self._writing.is_alive()

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.join()
            self._writing = None


def unfit_error(path: Path, unfit: Sequence[str]) -> ArtifactError:
    """The error for a snapshot that is sound, and bound to something else: naming each difference."""
    listed = "\n".join(f"  {difference}" for difference in unfit)
    return ArtifactError(
        f"{path} was learned with other weights or settings than those of this run:\n{listed}\n"
        "Run with those, name another folder with --state, or clear this one with "
        f"`moase-edge state reset --state {path.parent}`."
    )
