"""Nested states as plain JSON and named arrays, and back; nothing is ever unpickled.

What may stand in a state is listed here: numbers, texts, arrays, tensors, lists, tuples, mappings, and the state
classes of this package. A mapping keeps the type of its keys, a tensor its shape and type. An array that stands in
several places is stored once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plain = Any  # what JSON holds
Arrays = dict[str, NDArray[Any]]


class Packer:
    """Packs one state.

    Attributes:
        arrays: by name, as they were when they were met.
    """

    def __init__(self) -> None:
        self.arrays: Arrays = {}
        self._names: dict[int, str] = {}
        self._met: list[object] = []  # kept alive, so that no other object gets its id

    def pack(self, value: object) -> Plain:
        """Plain JSON of a value; arrays in it go to `arrays`.

        Raises:
            TypeError: the value holds something of another type.
        """
        if isinstance(value, (float, np.floating)):
            return float(value) if math.isfinite(value) else ["number", str(float(value))]
        if isinstance(value, (bool, int, str)) or value is None:
            return value
        if isinstance(value, (np.integer, np.bool_)):
            return value.item()
        if isinstance(value, np.ndarray):
            return ["array", self._named(value, value)]
        if _is_tensor(value):
            return ["tensor", self._named(value, value.detach().cpu().numpy())]  # type: ignore[attr-defined]
        return self._pack_group(value)

    def _pack_group(self, value: object) -> Plain:
        kind = type(value).__name__
        if state_kinds().get(kind) is type(value):
            return ["state", kind, {name: self.pack(getattr(value, name)) for name in field_names(type(value))}]
        if isinstance(value, Mapping):
            return ["map", [[self.pack(key), self.pack(item)] for key, item in value.items()]]
        if isinstance(value, (list, tuple)):
            return ["tuple" if isinstance(value, tuple) else "list", [self.pack(item) for item in value]]
        raise TypeError(f"a state holds a {kind}, which no snapshot can keep")

    def _named(self, value: object, array: NDArray[Any]) -> str:
        if id(value) not in self._names:
            self._names[id(value)] = f"{len(self.arrays):05}"
            self._met.append(value)
            self.arrays[self._names[id(value)]] = array
        return self._names[id(value)]


def unpack(plain: Plain, arrays: Arrays) -> Any:
    """The value that was packed.

    Raises:
        ValueError: it names an unknown state, a field that there is not, or an array that is missing.
    """
    try:
        return _unpacked(plain, arrays)
    except (KeyError, TypeError, IndexError) as exc:
        raise ValueError(f"a state that fits no class of this version: {exc!r}") from exc


def _unpacked(plain: Plain, arrays: Arrays) -> Any:
    if not isinstance(plain, list):
        return plain
    tag, content = plain[0], plain[1]
    if tag == "number":
        return float(content)
    if tag in ("array", "tensor"):
        return _array(arrays[content], tensor=tag == "tensor")
    if tag == "map":
        return {_unpacked(key, arrays): _unpacked(item, arrays) for key, item in content}
    if tag in ("list", "tuple"):
        items = [_unpacked(item, arrays) for item in content]
        return tuple(items) if tag == "tuple" else items
    if tag != "state":
        raise ValueError(f"{tag!r} is no part of a state")
    kind = state_kinds()[content]
    if set(plain[2]) != set(field_names(kind)):
        raise ValueError(f"a {content} of another version, with {', '.join(plain[2])}")
    return kind(**{name: _unpacked(item, arrays) for name, item in plain[2].items()})


def _array(array: NDArray[Any], *, tensor: bool) -> Any:
    if not tensor:
        return array
    import torch

    return torch.from_numpy(array.copy())


def field_names(kind: type) -> tuple[str, ...]:
    """Of a dataclass or a named tuple."""
    return tuple(entry.name for entry in fields(kind)) if is_dataclass(kind) else kind._fields  # type: ignore[attr-defined]


def state_kinds() -> dict[str, type]:
    """Every class that may stand in a state, by its name."""
    from moase_edge.adapt.content import ContentState
    from moase_edge.adapt.domain import BankState, Domain, Frame
    from moase_edge.adapt.drift import DriftState
    from moase_edge.adapt.guard import GuardState
    from moase_edge.adapt.referee import RefereeState
    from moase_edge.adapt.reservoir import ReservoirState
    from moase_edge.adapt.sidecar import Taps
    from moase_edge.adapt.state import AdaptedState, LearnedState, LiveState
    from moase_edge.adapt.steering import Trial
    from moase_edge.adapt.tracker import TrackerState
    from moase_edge.adapt.watch import WatchState
    from moase_edge.moase.policy import PolicyState

    kinds = (LearnedState, LiveState, AdaptedState, TrackerState, WatchState, GuardState, RefereeState, DriftState)
    parts = (BankState, Domain, Frame, ContentState, Trial, ReservoirState, PolicyState, Taps)
    return {kind.__name__: kind for kind in (*kinds, *parts)}


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
