"""Hashes, and folders that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moase_edge.errors import ConfigError, StorageError

_CHUNK_BYTES = 1 << 20


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
    """Raise ConfigError if `out` holds something that may not be replaced.

    Even `force` only replaces a folder that holds the file `marker`, so that a mistyped path costs nobody a home.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if (out.exists() or out.is_symlink()) and not force:
        raise ConfigError(f"{out} exists. Give --force to replace it, or another output folder.")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file, not a folder. Name another output folder.")
    if out.exists() and not (out / marker).is_file():
        raise ConfigError(
            f"{out} was not made by this command (it holds no {marker}) and is not replaced, not even with "
            "--force. Name another output folder."
        )


@contextmanager
def new_folder(out: Path, *, force: bool, marker: str) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when the block ends well, else vanishes.

    The old folder, if `force` allows replacing one, is only removed after the new one stands.

    Raises:
        ConfigError: `out` exists and `force` is not given.
        StorageError: the place cannot be written, or the disk is full.
    """
    refuse_existing(out, force=force, marker=marker)
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{out.name}.building-", dir=out.parent))
    try:
        with storage_errors(out):
            yield building
            building.chmod(0o755)
            _sync(building)
            _swap(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate OSError into StorageError, with the place and what to do."""
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise StorageError(
            f"cannot write {path}: {reason}. Nothing was left behind; free some space or name a place that can "
            "be written."
        ) from exc


def _swap(building: Path, out: Path) -> None:
    if not out.exists():
        building.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    out.rename(old / out.name)
    try:
        building.rename(out)
    except OSError:
        (old / out.name).rename(out)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Make every file readable, and have the disk hold it before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o644)
            with path.open("rb") as file:
                os.fsync(file.fileno())
