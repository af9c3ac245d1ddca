"""Frames in an artifact with what the fp32 engine made of them: a plan is held against them where it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.files import storage_errors
from moase_edge.artifact.specs import SHIFT
from moase_edge.artifact.store import Artifact
from moase_edge.errors import ArtifactError

PARITY_PROBE_FILE = "parity_probe.safetensors"
PROBE_FRAMES = 4
_IMAGES = "images"
# Before the name of an output that was taken under a shift.
_STEERED = "steered."


@dataclass(frozen=True, slots=True, eq=False)
class ParityProbe:
    """Frames and outputs, one a frame.

    Attributes:
        images: (1, 3, H, W) float32 each, preprocessed.
        outputs: of the fp32 engine by name, of that frame alone.
        shifts: (1, L, C) float32 each, that engines are steered with; empty of engines that cannot be.
        steered: outputs under these shifts.
    """

    images: tuple[NDArray[np.float32], ...]
    outputs: tuple[Mapping[str, NDArray[np.float32]], ...]
    shifts: tuple[NDArray[np.float32], ...] = ()
    steered: tuple[Mapping[str, NDArray[np.float32]], ...] = ()


def save_parity_probe(
    images: Sequence[NDArray[np.float32]],
    outputs: Sequence[Mapping[str, NDArray[np.float32]]],
    path: Path,
    *,
    shifts: Sequence[NDArray[np.float32]] = (),
    steered: Sequence[Mapping[str, NDArray[np.float32]]] = (),
) -> None:
    """Write a probe as safetensors, stacked over frames; its parts are those of `ParityProbe`.

    Raises:
        StorageError: the file cannot be written.
    """
    from safetensors.numpy import save

    tensors = {_IMAGES: np.concatenate(images), **_stacked(outputs)}
    if shifts:
        tensors |= {SHIFT: np.concatenate(shifts), **_stacked(steered, _STEERED)}
    with storage_errors(path):
        path.write_bytes(save(tensors))


def _stacked(
    outputs: Sequence[Mapping[str, NDArray[np.float32]]], prefix: str = ""
) -> dict[str, NDArray[np.float32]]:
    return {f"{prefix}{name}": np.concatenate([each[name] for each in outputs]) for name in outputs[0]}


def load_parity_probe(artifact: Artifact) -> ParityProbe | None:
    """The artifact's probe, None of one that was exported without.

    Raises:
        ArtifactError: the file is missing, damaged, or does not fit the manifest.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if PARITY_PROBE_FILE not in artifact.manifest.files:
        return None
    path = artifact.path(PARITY_PROBE_FILE)
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError) as exc:
        raise ArtifactError(f"{path} holds no frames to check an engine by: {exc}. {_AGAIN}") from exc
    names = [output.name for output in artifact.manifest.outputs]
    steered = [f"{_STEERED}{name}" for name in names] if artifact.manifest.steerable else []
    expected = {_IMAGES, *names, *steered, *([SHIFT] if steered else [])}
    counts = {len(values) for values in tensors.values()}
    if tensors.keys() != expected or len(counts) != 1:
        raise ArtifactError(
            f"{path} holds {', '.join(sorted(tensors))}; expected {', '.join(sorted(expected))}, one a frame. "
            f"{_AGAIN}"
        )
    rows = [{name: values[row : row + 1] for name, values in tensors.items()} for row in range(*counts)]
    return ParityProbe(
        tuple(row[_IMAGES] for row in rows),
        tuple({name: row[name] for name in names} for row in rows),
        tuple(row[SHIFT] for row in rows) if steered else (),
        tuple({name: row[f"{_STEERED}{name}"] for name in names} for row in rows) if steered else (),
    )


_AGAIN = "Copy the artifact again, or make it anew with `moase-edge export --force`."
