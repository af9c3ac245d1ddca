"""A plan's own parity, on the device that runs it: against outputs of the fp32 engine that lie in the artifact."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.cache import Cache
from moase_edge.artifact.manifest import EngineEntry
from moase_edge.artifact.parity_probe import PARITY_PROBE_FILE, ParityProbe, load_parity_probe
from moase_edge.artifact.store import Artifact
from moase_edge.config.precision import GraphPrecision, ParityThresholds
from moase_edge.engines.base import DeviceEngine, Engine, Tensors
from moase_edge.engines.deviation import deviation_of, failures_of
from moase_edge.errors import GateError
from moase_edge.version import __version__

logger = logging.getLogger(__name__)

_KIND, _PASSED = "parity", b"passed"
_Run = Callable[..., Mapping[str, Any]]


def refuse_failed(artifact: Artifact, entry: EngineEntry, cache: Cache, device: Mapping[str, object]) -> None:
    """Refuse a plan that failed its check on this device before, without loading it again.

    Args:
        artifact, entry, cache, device: as of `check_first_load`.

    Raises:
        GateError: in the words of then.
    """
    found = cache.load(_KIND, _facts(artifact, entry, device))
    if found is not None and found != _PASSED:
        raise GateError(f"{found.decode()} It was found at its first load and is remembered.")


def check_first_load(
    engine: Engine, artifact: Artifact, entry: EngineEntry, cache: Cache, device: Mapping[str, object]
) -> None:
    """Check a plan's parity where it was not checked on this device before (see `check_plan_parity`).

    Args:
        engine: the plan, open.
        entry: the plan's, from the artifact's manifest.
        cache: remembers what has passed, and what has failed.
        device: what tells this device, its driver and what runs the plan from others.

    Raises:
        ArtifactError: the artifact's probe cannot be used.
        GateError: parity does not hold.
        EngineError: the engine failed.
    """
    facts = _facts(artifact, entry, device)
    if cache.load(_KIND, facts) == _PASSED:
        return
    probe = load_parity_probe(artifact)
    if probe is None:
        logger.warning("%s holds no frames to check a plan by; export again to have some", artifact.folder)
        return
    try:
        check_plan_parity(
            engine,
            probe,
            _thresholds(artifact, entry),
            head=artifact.manifest.sidecar.classes > 0,
            batch=1 if entry.batch is None else entry.batch[0],
        )
    except GateError as exc:
        cache.store(_KIND, facts, str(exc).encode())
        raise
    cache.store(_KIND, facts, _PASSED)


def _facts(artifact: Artifact, entry: EngineEntry, device: Mapping[str, object]) -> dict[str, object]:
    """All that a check depends on; another moase-edge may compare more."""
    files = artifact.manifest.files
    return {
        "plan": files[entry.file],
        "probe": files.get(PARITY_PROBE_FILE),
        "thresholds": _thresholds(artifact, entry).model_dump(),
        "moase_edge": __version__,
        **device,
    }


def _thresholds(artifact: Artifact, entry: EngineEntry) -> ParityThresholds:
    return artifact.manifest.thresholds[cast(GraphPrecision, entry.precision)]


def check_plan_parity(
    engine: Engine, probe: ParityProbe, thresholds: ParityThresholds, *, head: bool = True, batch: int = 1
) -> None:
    """Run the stored frames through an engine and hold what it returns against the stored outputs.

    Frames are run once more under the stored shifts, where engines can be steered; and all of this again with the
    outputs left on the device, where the engine can do that. Gradients, which need PyTorch, were compared at
    export, on the plan's graph.

    Args:
        engine: open on this device.
        probe: of its artifact (`load_parity_probe`).
        thresholds: of the engine's precision (the manifest's `thresholds`).
        head: whether the model answers with classes.
        batch: smallest that the engine takes; a frame fills it.

    Raises:
        GateError: parity does not hold.
        EngineError: the engine failed.
    """
    failures = []
    for where, run in _ways(engine):
        for under, shifts, expected in _parts(probe):
            found = [
                _first_row(run, image, shift, batch) for image, shift in zip(probe.images, shifts, strict=True)
            ]
            answers = head and not under
            deviations = [deviation_of(*pair, head=answers) for pair in zip(found, expected, strict=True)]
            failures += failures_of(deviations, thresholds, under=", ".join(filter(None, (where, under))))
    if failures:
        raise GateError(
            f"{engine.name} does not compute what the artifact's fp32 engine did on {len(probe.images)} stored "
            f"frames: {'; '.join(failures)}. Build it again with `moase-edge export --rebuild DIR`, take another "
            "precision, or run with --engine ort."
        )


def _ways(engine: Engine) -> Iterator[tuple[str, _Run]]:
    """Each way that the engine hands its outputs over, in words and as a function."""
    yield "", engine.run
    if isinstance(engine, DeviceEngine):
        yield "left on the device", engine.run_on_device


def _parts(probe: ParityProbe) -> Iterator[tuple[str, Sequence[NDArray[np.float32] | None], Sequence[Tensors]]]:
    """What is run: in words, a shift for each frame, and the outputs that are expected."""
    yield "", [None] * len(probe.images), probe.outputs
    if probe.shifts:
        yield "steered", probe.shifts, probe.steered


def _first_row(
    run: _Run, image: NDArray[np.float32], shift: NDArray[np.float32] | None, batch: int
) -> dict[str, NDArray[np.float32]]:
    """Outputs of the first of `batch` equal frames, in memory of their own."""
    outputs = run(np.repeat(image, batch, axis=0), None if shift is None else np.repeat(shift, batch, axis=0))
    # What is left on the device is PyTorch's, in buffers that the second next run writes to.
    return {
        name: (values[:1] if isinstance(values, np.ndarray) else values[:1].cpu().numpy()).copy()
        for name, values in outputs.items()
    }
