"""Files that stay readable when a disk fills up: written whole, or line by line into a bounded journal."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from moase_edge.artifact.swap import sync_folder
from moase_edge.errors import ConfigError, StorageError
from moase_edge.report.plain import plain_json

logger = logging.getLogger(__name__)

_MIB = 1024 * 1024
_CHUNK_BYTES = 65536
_ADVICE = {
    errno.ENOSPC: "free some space or choose a folder on another disk",
    errno.EDQUOT: "free some of your quota or choose a folder on another disk",
    errno.EFBIG: "raise the file size limit (ulimit -f) or choose another file system",
    errno.EACCES: "choose a folder that this user may write",
    errno.EPERM: "choose a folder that this user may write",
    errno.EROFS: "choose a folder on a file system that is mounted for writing",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "choose a path whose parents are all folders",
    errno.EEXIST: "choose a path whose parents are all folders",
    errno.EISDIR: "choose a path that is not a folder",
    errno.EIO: "check the disk, then choose a folder on another one",
}


def storage_error(action: str, path: Path, exc: OSError) -> StorageError:
    """The error for a file operation that failed: what, where, why and what to do next."""
    reason = exc.strerror or str(exc)
    advice = _ADVICE.get(exc.errno or 0, "check the path and the disk, or choose another folder")
    return StorageError(f"could not {action} {path}: {reason}; {advice}")


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, so that a reader sees the old content or the new, never a part.

    Written to a hidden file in the same folder, flushed to disk, then renamed. Missing folders are made.

    Raises:
        StorageError: naming path, reason and what to do; the old content stays, no temporary file does.
    """
    target = Path(path)
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _removed_on_failure(temporary):
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        sync_folder(target.parent)
    except OSError as exc:
        raise storage_error("write", target, exc) from exc


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, as `write_bytes_atomic` does.

    A character that UTF-8 does not know (from a file name in another encoding) is written as an escape.

    Raises:
        StorageError: as `write_bytes_atomic`.
    """
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | os.PathLike[str], data: object) -> None:
    """Write `data` as indented JSON that every parser reads, as `write_bytes_atomic` does.

    Raises:
        ConfigError: a value that JSON cannot hold, as in `plain_json`.
        StorageError: as `write_bytes_atomic`.
    """
    text = json.dumps(plain_json(data), indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomic(path, text + "\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object that `write_json` wrote.

    Raises:
        StorageError: the file cannot be read, is damaged, or holds something else.
    """
    file = Path(path)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise storage_error("read", file, exc) from exc
    except ValueError as exc:
        raise StorageError(f"{file} is damaged: {exc}; expected JSON. Delete it, or restore it.") from exc
    if not isinstance(found, dict):
        raise StorageError(f"{file} holds a {type(found).__name__}; expected a JSON object. Delete it.")
    return found


class RotatingJsonl:
    """Records as JSON lines in `stem.jsonl`; a full file becomes `stem.1.jsonl`, that one `stem.2.jsonl`, ...

    All files together stay within `max_bytes * max_files`: the oldest is dropped. An existing journal is
    continued, after an unfinished last line (of a process that was killed) is cut off. One process writes it.

    A write that fails (disk full, read-only, I/O error) loses its line and nothing else: the first failure is
    logged, `lost_lines` counts, what was half-written is cut off, and later records are tried again.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        stem: str = "frames",
        *,
        max_bytes: int = 64 * _MIB,
        max_files: int = 8,
    ) -> None:
        """
        Raises:
            ConfigError: `max_bytes` below 1, `max_files` below 2, or a `stem` that is not a plain name.
            StorageError: the folder or the file cannot be made.
        """
        if max_bytes < 1 or max_files < 2 or not stem or Path(stem).name != stem:
            raise ConfigError(
                f"got stem={stem!r}, max_bytes={max_bytes}, max_files={max_files}; "
                "expected a file name, at least 1 byte and at least 2 files"
            )
        names = [f"{stem}.jsonl"] + [f"{stem}.{number}.jsonl" for number in range(1, max_files)]
        self._files = [Path(folder) / name for name in names]
        self._max_bytes = max_bytes
        self._descriptor: int | None = None
        self._size = 0
        self._lost_lines = 0
        try:
            self._open()
        except OSError as exc:
            raise storage_error("open", self.path, exc) from exc

    @property
    def path(self) -> Path:
        """The file that is written now."""
        return self._files[0]

    @property
    def lost_lines(self) -> int:
        """How many records could not be written."""
        return self._lost_lines

    def write(self, record: Mapping[str, object]) -> None:
        """Append one record. A failed write never raises; it is counted in `lost_lines`.

        Raises:
            ConfigError: the record holds a value that JSON cannot, as in `plain_json`.
        """
        line = json.dumps(plain_json(record), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if len(line) > self._max_bytes:
            self._lose(f"a record of {len(line)} bytes is longer than a whole file ({self._max_bytes} bytes)")
            return
        try:
            self._append(line)
        except OSError as exc:
            self._lose(str(storage_error("write", self.path, exc)))

    def close(self) -> None:
        """Flush to disk and close. A record written later opens the file again."""
        if self._descriptor is not None:
            try:
                os.fsync(self._descriptor)
            except OSError as exc:
                logger.warning(
                    "journal: %s; its last lines may be missing", storage_error("flush", self.path, exc)
                )
            self._release()

    def __enter__(self) -> RotatingJsonl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        descriptor = self._open()
        if self._size and self._size + len(line) > self._max_bytes:
            self._rotate()
            descriptor = self._open()
        try:
            _write_all(descriptor, line)
        except OSError:
            self._cut_off(descriptor)
            raise
        self._size += len(line)

    def _open(self) -> int:
        """The descriptor of the current file, opened and repaired where it is not open yet."""
        if self._descriptor is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                self._size = _end_of_last_line(descriptor)
                os.ftruncate(descriptor, self._size)
            except OSError:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
        return self._descriptor

    def _rotate(self) -> None:
        """Move files one place on, up to the first free place: a retry after a failure then loses nothing."""
        self._release()
        places = self._files[1:]
        free = next((place for place in places if not place.exists()), places[-1])
        last = self._files.index(free)
        for place in range(last, 0, -1):
            self._files[place - 1].replace(self._files[place])

    def _cut_off(self, descriptor: int) -> None:
        """Remove a half-written line; where even that fails, opening again will."""
        try:
            os.ftruncate(descriptor, self._size)
        except OSError:
            self._release()

    def _release(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _lose(self, reason: str) -> None:
        self._lost_lines += 1
        if self._lost_lines == 1:
            logger.warning("journal: %s; such lines are counted as lost, and this is said only once", reason)


@contextlib.contextmanager
def _removed_on_failure(temporary: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _write_all(descriptor: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _end_of_last_line(descriptor: int) -> int:
    """Offset just behind the last newline, 0 without one."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _CHUNK_BYTES)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
