"""Source statistics as a file of the artifact: mean and spread of what the sidecar sees of source images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.files import storage_errors
from moase_edge.artifact.store import Artifact
from moase_edge.errors import ArtifactError

SOURCE_STATISTICS_FILE = "source_stats.safetensors"
QUANTITIES = ("mid", "out", "features")


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Of one quantity, by channel: mean and population standard deviation, both (C,) float64."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SourceStatistics:
    """What the frozen model sees of images from its source domain.

    Attributes:
        mid, out: of the taps, over images and those of their tokens that the head reads.
        features: of what the head reads, at the sidecar's source state, over images.
        count: images.
    """

    mid: Moments
    out: Moments
    features: Moments
    count: int


def save_source_statistics(statistics: SourceStatistics, path: Path) -> None:
    """Write `features.mean`, `features.std`, `mid.mean`, ... as safetensors, with the count as metadata.

    The same statistics give the same bytes.

    Raises:
        StorageError: the file cannot be written.
    """
    from safetensors.numpy import save

    moments = {name: getattr(statistics, name) for name in QUANTITIES}
    tensors = {f"{name}.{kind}": getattr(of, kind) for name, of in moments.items() for kind in ("mean", "std")}
    with storage_errors(path):
        path.write_bytes(save(tensors, metadata={"count": str(statistics.count)}))


def load_source_statistics(artifact: Artifact) -> SourceStatistics | None:
    """The statistics that an artifact holds, None where it was made without. Needs no PyTorch.

    Raises:
        ArtifactError: the file is missing, damaged, or does not fit the manifest.
    """
    entry = artifact.manifest.source_statistics
    if entry is None:
        return None
    path = artifact.path(entry.file)
    tensors, count = _read(path)
    channels = artifact.manifest.sidecar.channels
    expected = {f"{name}.{kind}" for name in QUANTITIES for kind in ("mean", "std")}
    if tensors.keys() != expected or count != str(entry.count):
        raise ArtifactError(
            f"{path} holds {', '.join(sorted(tensors))} of {count} images; expected "
            f"{', '.join(sorted(expected))} of {entry.count}. {_AGAIN}"
        )
    for name, values in tensors.items():
        sound = values.shape == (channels,) and values.dtype == np.float64 and bool(np.isfinite(values).all())
        if not sound or (name.endswith(".std") and bool((values < 0).any())):
            raise ArtifactError(
                f"{name} in {path} is not {channels} finite float64 numbers, or a spread is negative: "
                f"{values.dtype} of shape {values.shape}. {_AGAIN}"
            )
    moments = {name: Moments(tensors[f"{name}.mean"], tensors[f"{name}.std"]) for name in QUANTITIES}
    return SourceStatistics(**moments, count=entry.count)


_AGAIN = "Record the statistics again with `moase-edge calibrate --force`, or copy the artifact again."


def _read(path: Path) -> tuple[dict[str, NDArray[np.float64]], object]:
    """Tensors by name, and the count as the metadata gives it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        # Not `safe_open`, which gives the metadata too, but takes no path that is no UTF-8.
        content = path.read_bytes()
        tensors = load(content)
    except (SafetensorError, OSError) as exc:
        raise ArtifactError(f"{path} holds no source statistics: {exc}. {_AGAIN}") from exc
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__", {}).get("count")
