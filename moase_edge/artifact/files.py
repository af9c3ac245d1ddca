"""Hashes, and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from moase_edge.artifact.swap import building_folder, locked, restore, sync_folder, take_place
from moase_edge.errors import ConfigError, StorageError

_CHUNK_BYTES = 1 << 20

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Free some space, or name another place."),
    errno.ENOTDIR: "A part of that path is a file, not a folder: name another place.",
    errno.ENAMETOOLONG: "Give it a shorter name.",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Name a place that you may write to."),
}


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def refuse_existing(out: Path, *, force: bool, marker: str) -> None:
    """Refuse an output folder that may not be replaced; an empty folder may.

    Even `force` only replaces a folder that holds the file `marker`, so that a mistyped path costs nobody a home.

    Raises:
        ConfigError: `out` is a file or a link, or holds something and `force` is not given, or no `marker`.
        StorageError: it cannot be looked into.
    """
    with storage_errors(out):
        if out.is_symlink():
            raise ConfigError(f"{out} is a link. Name the folder it points to, or another output folder.")
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
        marked = (out / marker).is_file()
    if not out.is_dir():
        raise ConfigError(f"{out} is a file, not a folder. Name another output folder.")
    if not marked:
        raise ConfigError(
            f"{out} exists and was not made by this command (it holds no {marker}): it is not replaced, not even "
            "with --force. Name another output folder."
        )
    if not force:
        raise ConfigError(f"{out} exists. Give --force to replace it, or another output folder.")


def refuse_unnamed(out: Path) -> None:
    """Refuse an output folder that cannot take its name by a rename.

    Raises:
        ConfigError: `out` is the current folder, ends in `..`, or is a mount point.
    """
    if out.name in ("", ".."):
        raise ConfigError(f"{out} is a place, not the name of a new folder. Name a folder below it.")
    if os.path.ismount(out):
        raise ConfigError(f"{out} is a mount point, which cannot be replaced. Name a folder below it.")


@contextmanager
def new_folder(
    out: Path, *, force: bool, marker: str, confirm: Callable[[], None] | None = None
) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when the block ends well, else vanishes.

    The old folder, if `force` allows replacing one, is only removed after the new one stands. An OSError inside
    the block counts as one of writing. What killed processes left of `out` is put back or removed.

    Args:
        confirm: is called last, while no other process can replace `out`; what it raises leaves the old folder.

    Raises:
        ConfigError: `out` may not be replaced (see `refuse_existing`, `refuse_unnamed`), or came to be while the
            block ran.
        StorageError: the place cannot be written, or the disk is full.
    """
    refuse_unnamed(out)
    with storage_errors(out):
        restore(out)
    refuse_existing(out, force=force, marker=marker)
    with storage_errors(out), _parents_made(out), building_folder(out) as building:
        yield building
        building.chmod(0o755)
        _sync(building)
        with locked(out.parent):
            refuse_existing(out, force=force, marker=marker)
            if confirm is not None:
                confirm()
            take_place(building, out)


@contextmanager
def _parents_made(out: Path) -> Iterator[None]:
    """Make the folders above `out`, and remove them again if the block fails and they are empty."""
    absent = [folder for folder in out.absolute().parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):
            for folder in absent:
                folder.rmdir()
        raise


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate OSError into StorageError, with the place and what to do."""
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        advice = _ADVICE.get(exc.errno or 0, "Name a place that can be written.")
        raise StorageError(f"cannot write {path}: {reason}. {advice}") from exc


def _sync(folder: Path) -> None:
    """Make every file readable, and have the disk hold it before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o644)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
