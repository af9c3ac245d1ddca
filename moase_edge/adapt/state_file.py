"""A snapshot of the learned state as bytes: safetensors for numbers, JSON in its metadata for all else.

The header says what the state is bound to and where it came from, and can be read without PyTorch and without the
numbers. A hash over header and numbers tells a damaged file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import AwareDatetime, Field, ValidationError

from moase_edge.adapt.packing import Arrays, Packer, unpack
from moase_edge.artifact.identity import state_identity
from moase_edge.artifact.manifest import Precision, canonical_json
from moase_edge.artifact.store import Artifact
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.base import Settings
from moase_edge.errors import ArtifactError

STATE_SCHEMA = 2
_KEY = "moase_edge_state"
_MOST_HEADER_BYTES = 2**26


class Binding(Settings):
    """What a state was learned with: on anything else it means nothing.

    Attributes:
        identity: of weights, split and precision (see `state_identity`).
        statistics: sha256 of the source statistics that domains are told by; None without them.
        settings: of all that adapts.
    """

    identity: str
    precision: Precision
    statistics: str | None
    settings: dict[str, Any]


class SourcePosition(Settings):
    """Where in a source a state stands.

    Attributes:
        name: of the source, as it is shown.
        length: frames that it holds; None where that is not known.
        frames: index of the frame that comes next.
        batches: that were answered before it.
        ended: whether it was read to its end.
    """

    name: str
    length: int | None
    frames: int = Field(ge=0)
    batches: int = Field(ge=0)
    ended: bool = False


class SnapshotHeader(Settings):
    """What a snapshot says of itself.

    Attributes:
        artifact: name of the artifact's folder.
        frames: answered since the state was the artifact's own, over all runs.
        position: in a source that waits; None after a camera, whose frames are gone.
        counts, figures: what was found and done, and the figures of domains and weights, for people.
    """

    schema_version: int
    created_at: AwareDatetime
    artifact: str
    binding: Binding
    frames: int = Field(ge=0)
    position: SourcePosition | None = None
    counts: dict[str, int] = Field(default={})
    figures: dict[str, Any] = Field(default={})


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A header, and the state as `Packer` left it; `state` builds it, which needs PyTorch."""

    header: SnapshotHeader
    plain: Any
    arrays: Arrays

    def state(self) -> Any:
        """The learned state.

        Raises:
            ArtifactError: it was written by another version.
        """
        try:
            return unpack(self.plain, self.arrays)
        except ValueError as exc:
            raise ArtifactError(f"the snapshot holds {exc}. Take an earlier one, or start anew.") from exc


def binding_of(artifact: Artifact, settings: AdaptSettings, precision: Precision = "fp32") -> Binding:
    """What a state learned with this artifact and these settings is bound to."""
    manifest = artifact.manifest
    entry = manifest.statistics_at(precision)
    return Binding(
        identity=state_identity(manifest, precision),
        precision=precision,
        statistics=None if entry is None else manifest.files[entry.file],
        settings=settings.model_dump(mode="json"),
    )


def differences(found: Binding, expected: Binding) -> list[str]:
    """What two bindings differ in, each in words; empty where a state fits."""
    told = []
    if found.precision != expected.precision:
        told.append(f"precision {found.precision}, not {expected.precision}")
    if found.identity != expected.identity:
        told.append(
            f"weights, split or adapters: identity {found.identity[:12]}..., not {expected.identity[:12]}..."
        )
    if found.statistics != expected.statistics:
        told.append("source statistics: recorded anew since, or of another engine")
    ours, theirs = _flat(found.settings), _flat(expected.settings)
    names = sorted(ours.keys() | theirs.keys())
    told += [
        f"{name}: {ours.get(name)}, not {theirs.get(name)}" for name in names if ours.get(name) != theirs.get(name)
    ]
    return told


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(value)
    return flat


def encode_snapshot(header: SnapshotHeader, state: object) -> bytes:
    """The whole file: safetensors with header, state and hash as metadata."""
    from safetensors.numpy import save

    packer = Packer()
    plain = {"header": header.model_dump(mode="json"), "state": packer.pack(state)}
    # An empty file has no data section to tell from a truncated one.
    arrays = packer.arrays or {"none": np.zeros(0)}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    # One entry, because several come in no fixed order.
    return save(arrays, metadata={_KEY: json.dumps({"content": text, "sha256": _hash(text, arrays)})})


def read_header(path: Path) -> SnapshotHeader:
    """The header alone; the numbers behind it are not checked.

    Raises:
        ArtifactError: the file cannot be read, is no snapshot, is cut off, or is of a newer version.
    """
    try:
        with path.open("rb") as file:
            size = _size(file.read(8), path)
            header = _parsed(file.read(size), path)
            left = path.stat().st_size - 8 - size
    except OSError as exc:
        raise _damaged(path, exc.strerror or str(exc)) from exc
    end = _end_of_numbers(header, path)
    if left != end:
        raise _damaged(path, f"{left} bytes of numbers, its header says {end}")
    return _header(_parsed(_sealed(header, path)["content"].encode(), path), path)


def read_snapshot(path: Path) -> Snapshot:
    """The whole file, checked against its hash.

    Raises:
        ArtifactError: as `read_header`, or its hash differs.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = path.read_bytes()
        # Copies, because those that it returns are not aligned and cannot be written to.
        arrays = {name: np.array(array) for name, array in load(data).items()}
    except OSError as exc:
        raise _damaged(path, exc.strerror or str(exc)) from exc
    except (SafetensorError, ValueError) as exc:
        raise _damaged(path, str(exc)) from exc
    size = _size(data[:8], path)
    sealed = _sealed(_parsed(data[8 : 8 + size], path), path)
    if sealed["sha256"] != _hash(sealed["content"], arrays):
        raise _damaged(path, "its content has another hash than it says")
    plain = _parsed(sealed["content"].encode(), path)
    return Snapshot(_header(plain, path), plain["state"], arrays)


def _hash(text: str, arrays: Arrays) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(canonical_json([name, str(array.dtype), list(arrays[name].shape)]))
        digest.update(array.tobytes())
    return digest.hexdigest()


def _size(raw: bytes, path: Path) -> int:
    size = int.from_bytes(raw, "little")
    if len(raw) < 8 or not 2 <= size <= _MOST_HEADER_BYTES:
        raise _damaged(path, "it does not begin as one")
    return size


def _parsed(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise _damaged(path, f"its header is no JSON ({exc})") from exc
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no JSON object")
    return header


def _end_of_numbers(header: Mapping[str, Any], path: Path) -> int:
    try:
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (LookupError, TypeError, ValueError) as exc:
        raise _damaged(path, "its header does not say where its numbers are") from exc
    return max(ends, default=0)


def _sealed(header: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The content, as text, and its hash."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise _damaged(path, "it is another kind of file")
    sealed = _parsed(metadata[_KEY].encode(), path)
    if not all(isinstance(sealed.get(name), str) for name in ("content", "sha256")):
        raise _damaged(path, "its content is not as it should be")
    return sealed


def _header(plain: Mapping[str, Any], path: Path) -> SnapshotHeader:
    values = plain.get("header")
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > STATE_SCHEMA:
        raise ArtifactError(
            f"{path} has schema version {version}; this moase-edge reads up to {STATE_SCHEMA}. Update moase-edge."
        )
    try:
        return SnapshotHeader.model_validate(values)
    except ValidationError as exc:
        raise _damaged(path, f"its header has {exc.error_count()} faults") from exc


def _damaged(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{path} is no snapshot that can be used: {reason}. Take an earlier one, or remove it.")
