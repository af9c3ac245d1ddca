"""Source statistics as a file of the artifact: mean and spread of what the sidecar sees of source images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.files import storage_errors
from moase_edge.artifact.manifest import Manifest, Precision
from moase_edge.artifact.specs import TOKEN_MEANS
from moase_edge.artifact.store import Artifact
from moase_edge.errors import ArtifactError

SOURCE_STATISTICS_FILE = "source_stats.safetensors"
_FILE_AT = "source_stats.{precision}.safetensors"
# Of fewer images, statistics say too little of the source for anything to be corrected toward it.
FEWEST_TO_CORRECT = 8
QUANTITIES = ("mid", "out", "features")
_KINDS = ("mean", "std")


def statistics_file(precision: Precision) -> str:
    """Name of the file with the statistics taken at a precision."""
    return SOURCE_STATISTICS_FILE if precision == "fp32" else _FILE_AT.format(precision=precision)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Of one quantity, by channel: mean and population standard deviation, both (C,) float64; (L, C) by block."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SourceStatistics:
    """What the frozen model sees of images from its source domain.

    Attributes:
        mid, out: of the taps, over images and those of their tokens that the head reads.
        features: of what the head reads, at the sidecar's source state, over images.
        count: images.
        token_means: of the mean patch token at the entrance of each block, over images, (L, C); None where the
            engine cannot be steered.
    """

    mid: Moments
    out: Moments
    features: Moments
    count: int
    token_means: Moments | None = None

    def moments(self) -> dict[str, Moments]:
        """Of every quantity that there is, by its name."""
        of = {name: getattr(self, name) for name in QUANTITIES}
        return of if self.token_means is None else {**of, TOKEN_MEANS: self.token_means}


def save_source_statistics(statistics: SourceStatistics, path: Path) -> None:
    """Write `features.mean`, `features.std`, `mid.mean`, ... as safetensors, with the count as metadata.

    The same statistics give the same bytes.

    Raises:
        StorageError: the file cannot be written.
    """
    from safetensors.numpy import save

    moments = statistics.moments()
    tensors = {f"{name}.{kind}": getattr(of, kind) for name, of in moments.items() for kind in _KINDS}
    with storage_errors(path):
        path.write_bytes(save(tensors, metadata={"count": str(statistics.count)}))


def load_source_statistics(artifact: Artifact, precision: Precision = "fp32") -> SourceStatistics | None:
    """The statistics taken on engines of a precision, None where the artifact holds none. Needs no PyTorch.

    Raises:
        ArtifactError: the file is missing, damaged, or does not fit the manifest.
    """
    entry = artifact.manifest.statistics_at(precision)
    if entry is None:
        return None
    path = artifact.path(entry.file)
    tensors, count = _read(path)
    shapes = _shapes(artifact.manifest)
    expected = {f"{name}.{kind}" for name in shapes for kind in _KINDS}
    if tensors.keys() != expected or count != str(entry.count):
        raise ArtifactError(
            f"{path} holds {', '.join(sorted(tensors))} of {count} images; expected "
            f"{', '.join(sorted(expected))} of {entry.count}. {_AGAIN}"
        )
    _refuse_unsound(tensors, shapes, path)
    moments = {name: Moments(tensors[f"{name}.mean"], tensors[f"{name}.std"]) for name in shapes}
    return SourceStatistics(**moments, count=entry.count)


def _shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Of the statistics of each quantity that the artifact's engine hands over."""
    spec = manifest.sidecar
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(QUANTITIES, (spec.channels,))
    return {**shapes, TOKEN_MEANS: (spec.depth, spec.channels)} if manifest.steerable else shapes


def _refuse_unsound(
    tensors: Mapping[str, NDArray[np.float64]], shapes: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    for name, values in tensors.items():
        quantity, _, kind = name.rpartition(".")
        shape = shapes[quantity]
        sound = values.shape == shape and values.dtype == np.float64 and bool(np.isfinite(values).all())
        if not sound or (kind == "std" and bool((values < 0).any())):
            raise ArtifactError(
                f"{name} in {path} is not {' x '.join(map(str, shape))} finite float64 numbers, or a spread is "
                f"negative: {values.dtype} of shape {values.shape}. {_AGAIN}"
            )


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
