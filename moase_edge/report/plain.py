"""Any plain Python or numpy data as JSON that every parser reads."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from moase_edge.errors import ConfigError


def plain_json(value: object) -> Any:
    """`value` as dicts, lists, strings, numbers, booleans and None.

    Accepts mappings, sequences, sets (sorted), dataclasses, paths, numpy arrays and scalars. NaN and infinities
    become None: bare `NaN` is not JSON. A character that UTF-8 does not know becomes an escape.

    Raises:
        ConfigError: any other type.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (str, os.PathLike)):
        return _encodable(os.fspath(value))
    if isinstance(value, (np.ndarray, np.generic)):
        return plain_json(value.tolist())
    return _plain_container(value)


def _plain_container(value: object) -> Any:
    if isinstance(value, Mapping):
        return {_encodable(str(key)): plain_json(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Set):
        return [plain_json(item) for item in sorted(value)]
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain_json(item) for item in value]
    raise ConfigError(
        f"a {type(value).__name__} cannot be written as JSON: expected mappings, sequences, dataclasses, "
        "strings, numbers, booleans, None, paths or numpy values; convert it first"
    )


def _encodable(text: str | bytes) -> str:
    if isinstance(text, bytes):
        return text.decode("utf-8", "backslashreplace")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
