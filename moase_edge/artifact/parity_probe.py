"""Frames in an artifact with what the fp32 engine made of them: a plan is held against them where it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.files import storage_errors
from moase_edge.artifact.store import Artifact
from moase_edge.errors import ArtifactError

PARITY_PROBE_FILE = "parity_probe.safetensors"
PROBE_FRAMES = 4
_IMAGES = "images"


@dataclass(frozen=True, slots=True, eq=False)
class ParityProbe:
    """Frames and outputs, one a frame.

    Attributes:
        images: (1, 3, H, W) float32 each, preprocessed.
        outputs: of the fp32 engine by name, of that frame alone.
    """

    images: tuple[NDArray[np.float32], ...]
    outputs: tuple[Mapping[str, NDArray[np.float32]], ...]


def save_parity_probe(
    images: Sequence[NDArray[np.float32]], outputs: Sequence[Mapping[str, NDArray[np.float32]]], path: Path
) -> None:
    """Write frames (1, 3, H, W) and their outputs as safetensors, stacked over frames.

    Raises:
        StorageError: the file cannot be written.
    """
    from safetensors.numpy import save

    stacked = {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}
    with storage_errors(path):
        path.write_bytes(save({_IMAGES: np.concatenate(images), **stacked}))


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
    expected = {_IMAGES, *(output.name for output in artifact.manifest.outputs)}
    counts = {len(values) for values in tensors.values()}
    if tensors.keys() != expected or len(counts) != 1:
        raise ArtifactError(
            f"{path} holds {', '.join(sorted(tensors))}; expected {', '.join(sorted(expected))}, one a frame. "
            f"{_AGAIN}"
        )
    images = tensors.pop(_IMAGES)
    rows = range(len(images))
    return ParityProbe(
        tuple(images[row : row + 1] for row in rows),
        tuple({name: values[row : row + 1] for name, values in tensors.items()} for row in rows),
    )


_AGAIN = "Copy the artifact again, or make it anew with `moase-edge export --force`."
