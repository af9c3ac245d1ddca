"""The folder of snapshots: one file each, numbered, the newest last; what was rolled back from lies aside."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time

from moase_edge.artifact.files import storage_errors
from moase_edge.errors import ConfigError
from moase_edge.report.files import write_bytes_atomic

DEFAULT_ROOT = Path("state")
_NAME = re.compile(r"snapshot-([0-9]{6,12})\.safetensors")
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.tmp")
_ASIDE = "aside"
_LOCK = ".lock"
_DAY_S = 86_400


class SnapshotFolder:
    """Snapshots by number. A file has its name once all of it is on the disk; numbers are never used again.

    Args:
        path: made with the first snapshot.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lacks_lock = False
        self._late_lock: int | None = None

    def snapshots(self) -> list[Path]:
        """The newest first; empty where the folder is not there or cannot be read."""
        return _numbered(self.path)

    def aside(self) -> list[Path]:
        """Those that were rolled back from, the newest first."""
        return _numbered(self.path / _ASIDE)

    def write(self, data: bytes) -> Path:
        """Write a new snapshot: whole or not at all.

        Raises:
            StorageError: the disk is full, or the folder cannot be written.
            ConfigError: it could not be locked before, and another process holds it by now.
        """
        self._lock_late()
        numbers = [number_of(path) for path in (*self.snapshots(), *self.aside())]
        path = self.path / f"snapshot-{max(numbers, default=0) + 1:06}.safetensors"
        write_bytes_atomic(path, data)
        return path

    def named(self, name: str) -> Path:
        """The snapshot of this number or file name, also of those aside.

        Raises:
            ConfigError: there is none.
        """
        everything = [*self.snapshots(), *self.aside()]
        for path in everything:
            if name in (path.name, path.stem, str(number_of(path)), f"{number_of(path):06}"):
                return path
        known = ", ".join(str(number_of(path)) for path in everything) or "none"
        raise ConfigError(f"{self.path} holds no snapshot {name!r}. There are: {known}.")

    def roll_back_to(self, target: Path) -> Path:
        """Make `target` the newest: later ones are set aside, and it is taken back if it lay there itself.

        Raises:
            StorageError: the folder cannot be written.
        """
        place = self.path / target.name
        with storage_errors(self.path):
            (self.path / _ASIDE).mkdir(exist_ok=True)
            if target != place:
                target.replace(place)
            # The newest goes first, so that whatever interrupts this leaves an earlier one in front.
            for path in self.snapshots():
                if number_of(path) > number_of(place):
                    path.replace(self.path / _ASIDE / path.name)
        return place

    def clear(self) -> int:
        """Remove every snapshot, those aside too; returns how many.

        Raises:
            StorageError: the folder cannot be written.
        """
        paths = [*self.snapshots(), *self.aside()]
        with storage_errors(self.path):
            for path in paths:
                path.unlink(missing_ok=True)
        return len(paths)

    def prune(self, keep: int, keep_days: int, *, now_s: float | None = None) -> None:
        """Keep the newest `keep`, and before these the latest of each of the last `keep_days` calendar days.

        Days are those of UTC, and today is one of them.

        Of those aside the newest `keep` stay.

        Raises:
            StorageError: the folder cannot be written.
        """
        now_s = time() if now_s is None else now_s
        snapshots = self.snapshots()
        with storage_errors(self.path):
            days: set[int] = set()
            for path in snapshots[keep:]:
                # By age, each would leave its day's place to the next one before that day is over.
                day = int(path.stat().st_mtime // _DAY_S)
                if day in days or int(now_s // _DAY_S) - day >= keep_days:
                    path.unlink(missing_ok=True)
                days.add(day)
            for path in self.aside()[keep:]:
                path.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove what a killed process left half-written; only for who holds the lock."""
        with suppress(OSError):
            for path in self.path.iterdir():
                if _UNFINISHED.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    @contextmanager
    def locked(self, *, make: bool = False) -> Iterator[None]:
        """Hold the folder for this process; it is free again however the process ends.

        A folder that cannot be written needs no lock: nobody changes anything there. Where it can be later, it is
        locked before the first snapshot is written.

        Args:
            make: make the folder where it is not there.

        Raises:
            ConfigError: another process holds it.
        """
        descriptor = self._lock_file(make=make)
        if descriptor is not None:
            try:
                _lock(descriptor, self.path)
                yield
            finally:
                os.close(descriptor)
            return
        self._lacks_lock = True
        try:
            yield
        finally:
            self._lacks_lock = False
            if self._late_lock is not None:
                os.close(self._late_lock)
                self._late_lock = None

    def _lock_late(self) -> None:
        descriptor = self._lock_file(make=True) if self._lacks_lock else None
        if descriptor is None:
            return
        try:
            _lock(descriptor, self.path)
        except ConfigError:
            os.close(descriptor)
            raise
        self._lacks_lock, self._late_lock = False, descriptor

    def _lock_file(self, *, make: bool) -> int | None:
        with suppress(OSError):
            if make:
                self.path.mkdir(parents=True, exist_ok=True)
            return os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return None


def number_of(path: Path) -> int:
    """Of a snapshot's file name."""
    match = _NAME.fullmatch(path.name)
    return int(match.group(1)) if match else 0


def _numbered(folder: Path) -> list[Path]:
    try:
        paths = [path for path in folder.iterdir() if number_of(path)]
    except OSError:
        return []
    return sorted(paths, key=number_of, reverse=True)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise ConfigError(
            f"another process uses the state in {folder}: a run keeps its snapshots there. End it first, or name "
            "another folder with --state."
        ) from exc
    except OSError:  # a file system without locks
        return
