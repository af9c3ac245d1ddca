"""Hashes, and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
def new_folder(out: Path, *, force: bool, marker: str) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when the block ends well, else vanishes.

    The old folder, if `force` allows replacing one, is only removed after the new one stands. An OSError inside
    the block counts as one of writing.

    Raises:
        ConfigError: `out` may not be replaced (see `refuse_existing`, `refuse_unnamed`), or came to be while the
            block ran.
        StorageError: the place cannot be written, or the disk is full.
    """
    refuse_existing(out, force=force, marker=marker)
    refuse_unnamed(out)
    with storage_errors(out), _parents_made(out):
        building = Path(tempfile.mkdtemp(prefix=f".{out.name}.building-", dir=out.parent))
        try:
            yield building
            building.chmod(0o755)
            _sync(building)
            refuse_existing(out, force=force, marker=marker)
            _swap(building, out)
        finally:
            shutil.rmtree(building, ignore_errors=True)


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


def _swap(building: Path, out: Path) -> None:
    """Give `building` the name `out`; whatever exception interrupts it, a folder of that name stands after."""
    if not out.exists():
        building.rename(out)
        return
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


def _sync(folder: Path) -> None:
    """Make every file readable, and have the disk hold it before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o644)
            with path.open("rb") as file:
                os.fsync(file.fileno())
