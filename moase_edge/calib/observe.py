"""Watch the activations of a graph on calibration frames; what was seen survives an interruption."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.cache import CACHE_VARIABLE, cache_folder
from moase_edge.calib.histogram import Histogram, new_histogram
from moase_edge.calib.products import feeds, open_session
from moase_edge.errors import CalibrationError, StorageError
from moase_edge.report.files import write_bytes_atomic

logger = logging.getLogger(__name__)

SAVE_EVERY = 16
_LAYOUT = "1"  # of the cache's files; another one is not read


def observe(
    model: Any,
    tensors: Sequence[str],
    frames: Sequence[NDArray[np.float32]],
    *,
    bins: int,
    cache: Path | None = None,
) -> dict[str, Histogram]:
    """Histograms of `tensors` over `frames`, by name.

    Frames go through one by one. With `cache`, a folder, what was seen is written every `SAVE_EVERY` frames to a
    file that is named by a hash of the graph, tensors, frames and bins; another run over the same goes on from it
    and ends with the same bits. A file that is damaged is begun anew; one that cannot be written is done without,
    with a warning.

    Args:
        model: an ONNX model.
        frames: (1, 3, H, W) float32 each, preprocessed.

    Raises:
        CalibrationError: no frame, a value that is not finite, or a tensor that is zero throughout.
    """
    if not frames:
        raise CalibrationError("there is no calibration frame; ranges need some hundred. Name more images.")
    place = cache / f"{key_of(model, tensors, frames, bins)}.safetensors" if cache is not None else None
    seen, done = _resume(place, tensors) if place is not None else ({}, 0)
    seen = seen or {name: new_histogram(bins) for name in tensors}
    if done < len(frames):
        inner = [name for name in tensors if name not in {entry.name for entry in model.graph.input}]
        session = open_session(model, more_outputs=inner)
        for index in range(done, len(frames)):
            _count(seen, _values(session, inner, frames[index]), index)
            if place is not None and ((index + 1) % SAVE_EVERY == 0 or index + 1 == len(frames)):
                place = _kept(place, _packed(seen, index + 1))
    _refuse_dead(seen)
    return seen


def observations_folder() -> Path:
    """Where commands keep what was observed."""
    return cache_folder() / "calibration"


def _kept(place: Path, content: bytes) -> Path | None:
    """Write what was seen so far; None, with a warning, where that fails."""
    try:
        write_bytes_atomic(place, content)
    except StorageError as exc:
        logger.warning(
            "what is observed is not kept, and a calibration that is interrupted begins anew: %s Another folder "
            "can be named in %s.",
            exc,
            CACHE_VARIABLE,
        )
        return None
    return place


def key_of(model: Any, tensors: Sequence[str], frames: Iterable[NDArray[np.float32]], bins: int) -> str:
    """Hexadecimal sha256 that names what an observation is of."""
    digest = hashlib.sha256(json.dumps([_LAYOUT, bins, *tensors]).encode())
    digest.update(hashlib.sha256(model.SerializeToString(deterministic=True)).digest())
    for frame in frames:
        digest.update(hashlib.sha256(frame.tobytes()).digest())
    return digest.hexdigest()


def _values(session: Any, inner: Sequence[str], frame: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    fed = feeds(session, frame)
    try:
        # Asked for nothing, ONNX Runtime returns everything.
        return {**fed, **dict(zip(inner, session.run(list(inner), fed) if inner else [], strict=True))}
    except Exception as exc:  # ONNX Runtime raises many unrelated types
        raise CalibrationError(
            f"the graph failed on a calibration frame of shape {frame.shape}, {frame.dtype}: {exc}"
        ) from exc


def _count(seen: Mapping[str, Histogram], values: Mapping[str, NDArray[np.float32]], index: int) -> None:
    for name, histogram in seen.items():
        if not np.isfinite(values[name]).all():
            raise CalibrationError(
                f"{name} is not finite on calibration frame {index}: the model overflows on it. Leave it out."
            )
        histogram.add(values[name])


def _refuse_dead(seen: Mapping[str, Histogram]) -> None:
    dead = [name for name, histogram in seen.items() if histogram.largest == 0]
    if dead:
        raise CalibrationError(
            f"{', '.join(dead[:3])} is 0 on every calibration frame, which gives no range. Name images that are "
            "like those of the deployment."
        )


def _packed(seen: Mapping[str, Histogram], done: int) -> bytes:
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    facts: dict[str, list[float]] = {}
    for index, (name, histogram) in enumerate(seen.items()):
        tensors[f"{index}.counts"] = histogram.counts
        if histogram.channels is not None:
            tensors[f"{index}.channels"] = histogram.channels
        facts[name] = [histogram.exponent, histogram.lowest, histogram.highest, histogram.rows]
    return save(tensors, metadata={"seen": json.dumps({"frames": done, "tensors": facts})})


def _resume(place: Path, tensors: Sequence[str]) -> tuple[dict[str, Histogram], int]:
    """What an earlier run saw, and of how many frames; nothing where there is none or it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = place.read_bytes()
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        noted = json.loads(header["__metadata__"]["seen"])
        seen = {
            name: Histogram(
                arrays[f"{index}.counts"].copy(), int(exponent), lowest, highest, _copy(arrays, index), int(rows)
            )
            for index, (name, (exponent, lowest, highest, rows)) in enumerate(noted["tensors"].items())
        }
        return (seen, int(noted["frames"])) if list(seen) == list(tensors) else ({}, 0)
    except FileNotFoundError:
        return {}, 0
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as exc:
        logger.warning("the calibration cache %s cannot be read and is begun anew: %s", place, exc)
        return {}, 0


def _copy(arrays: Mapping[str, NDArray[Any]], index: int) -> NDArray[np.float64] | None:
    found = arrays.get(f"{index}.channels")
    return None if found is None else found.copy()
