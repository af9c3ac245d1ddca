"""A cell's record as a file, so that a run that was killed continues behind it."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from moase_edge.errors import ConfigError, StorageError
from moase_edge.metrics.cell import CellRecord
from moase_edge.report.files import storage_error, write_bytes_atomic

# As JSON text: numpy's own strings lose trailing zero characters.
_DOMAINS = "domains"
# All that zipfile and numpy were seen to raise on files that were cut or had bytes changed.
_DAMAGE = (
    ConfigError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def save_record(path: str | os.PathLike[str], record: CellRecord) -> None:
    """Write `record` as a compressed .npz without pickled objects, whole or not at all.

    Raises:
        StorageError: `path` cannot be written.
    """
    buffer = io.BytesIO()
    # A record's dtypes never need a pickle; numpy before 2.1 cannot be told so.
    arrays: dict[str, Any] = {**record.arrays(), _DOMAINS: np.array(json.dumps(record.domains))}
    np.savez_compressed(buffer, **arrays)
    write_bytes_atomic(path, buffer.getvalue())


def load_record(path: str | os.PathLike[str]) -> CellRecord:
    """The record that `save_record` wrote, equal to the bit.

    Raises:
        StorageError: the file cannot be read, is truncated or damaged, or holds something else.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise storage_error("read", file, exc) from exc
    try:
        return _record(_arrays(data))
    except _DAMAGE as exc:
        raise StorageError(
            f"{file} ({len(data)} bytes) is not a whole record of a cell: {exc}; "
            "delete it, and the cell is run again"
        ) from exc


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    stored = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(stored, NpzFile):
        raise ValueError("it is a single array")
    with stored:
        return {name: stored[name] for name in stored.files}


def _record(arrays: dict[str, Any]) -> CellRecord:
    domains = tuple(json.loads(str(arrays.pop(_DOMAINS))))
    return CellRecord(**{"frozen_prediction": None, **arrays}, domains=domains)
