"""Folders that change places: in one step where the system can, one process at a time, and what a kill leaves."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

# Of Linux: <linux/fs.h>, <fcntl.h>.
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100

logger = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a folder against other processes that ask likewise; it is free again however this one ends.

    Yields:
        Whether it is held; a file system may have no such locks.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield _flocked(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


@contextmanager
def building_folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that is this process's own, and removed at the end with all that it holds then.

    What killed processes left of earlier ones is removed first.

    Raises:
        OSError: it cannot be made.
    """
    with locked(out.parent) as held:
        if held:
            _sweep(out)
        building = Path(tempfile.mkdtemp(prefix=f".{out.name}.building-", dir=out.parent))
        descriptor = os.open(building, os.O_RDONLY)
        _flocked(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield building
    finally:
        os.close(descriptor)
        shutil.rmtree(building, ignore_errors=True)


def take_place(building: Path, out: Path) -> None:
    """Give `building` the name `out`; whatever lay there may have the name `building` after.

    Where the system can exchange two names in one step, there is a folder `out` at any time. Elsewhere there is
    one after every exception, and after a kill `restore` finds it.

    Raises:
        OSError: it cannot be renamed.
    """
    if not out.exists():
        building.rename(out)
    elif not _exchanged(building, out):
        _rename_both(building, out)
    sync_folder(out.parent)


def restore(out: Path) -> Path | None:
    """Give a folder its name back that a process set aside and was killed before it had put another there.

    Returns:
        Where the folder lies, if it is still aside: its place cannot be written.
    """
    if out.exists() or not _left(out, "old"):
        return None
    with locked(out.parent) as held:
        # Another process may have been between its two renames.
        aside = next((path / out.name for path in _left(out, "old") if (path / out.name).is_dir()), None)
        if out.exists() or aside is None:
            return None
        if held:
            with suppress(OSError):
                aside.rename(out)
                aside.parent.rmdir()
                logger.warning("%s is back: a process that was replacing it had been killed", out)
        return None if out.exists() else aside


def restore_below(root: Path) -> None:
    """`restore` whatever was set aside in a folder of folders."""
    with suppress(OSError):
        for path in sorted(root.glob(".*.old-*/*")):
            restore(root / path.name)


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names in a folder; where a folder cannot be synchronised, this does nothing."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where system or file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_EXCHANGE)) == 0)


def _rename_both(building: Path, out: Path) -> None:
    """Two renames; whatever exception interrupts them, a folder `out` stands after."""
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    try:
        out.rename(aside / out.name)
        building.rename(out)
    except BaseException:
        if not out.exists():
            (aside / out.name).rename(out)
        raise
    finally:
        # Where the old folder could not be put back, it stays aside: it is all there is.
        if out.exists():
            shutil.rmtree(aside, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Remove what killed processes left of `out`; only for who holds the folder above it."""
    for path in _left(out, "building"):
        if _is_nobodys(path):
            shutil.rmtree(path, ignore_errors=True)
    for path in _left(out, "old"):
        # Where there is no `out`, it is all there is.
        if out.exists():
            shutil.rmtree(path, ignore_errors=True)


def _left(out: Path, kind: Literal["building", "old"]) -> list[Path]:
    """Folders of this kind beside `out`, the newest first."""
    # As tempfile ends its names, so that those of a folder `a.old-b` are not taken for those of `a`.
    name = re.compile(rf"\.{re.escape(out.name)}\.{kind}-[a-z0-9_]{{8}}")
    try:
        found = [path for path in out.parent.iterdir() if name.fullmatch(path.name) and path.is_dir()]
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return []


def _is_nobodys(building: Path) -> bool:
    """Whether no living process holds a folder; False where that cannot be told."""
    try:
        descriptor = os.open(building, os.O_RDONLY)
    except OSError:
        return False
    try:
        return _flocked(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _flocked(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except OSError:  # held by another, or a file system without locks
        return False
    return True
