"""A plan's own parity, on the device that runs it: against outputs of the fp32 engine that lie in the artifact."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import cast

import numpy as np

from moase_edge.artifact.cache import Cache
from moase_edge.artifact.manifest import EngineEntry
from moase_edge.artifact.parity_probe import ParityProbe, load_parity_probe
from moase_edge.artifact.store import Artifact
from moase_edge.config.precision import GraphPrecision, ParityThresholds, PrecisionSettings
from moase_edge.engines.base import Engine
from moase_edge.engines.deviation import deviation_of, failures_of
from moase_edge.errors import GateError

logger = logging.getLogger(__name__)


_KIND, _PASSED = "parity", b"passed"


def check_first_load(
    engine: Engine, artifact: Artifact, entry: EngineEntry, cache: Cache, device: Mapping[str, object]
) -> None:
    """Check a plan's parity where it was not checked on this device before (see `check_plan_parity`).

    Args:
        engine: the plan, open.
        entry: the plan's, from the artifact's manifest.
        cache: remembers what has passed.
        device: what tells this device and its driver from another.

    Raises:
        ArtifactError: the artifact's probe cannot be used.
        GateError: parity does not hold.
        EngineError: the engine failed.
    """
    facts = {"plan": artifact.manifest.files[entry.file], **device}
    if cache.load(_KIND, facts) == _PASSED:
        return
    probe = load_parity_probe(artifact)
    if probe is None:
        logger.warning("%s holds no frames to check a plan by; export again to have some", artifact.folder)
        return
    check_plan_parity(
        engine,
        probe,
        PrecisionSettings().thresholds[cast(GraphPrecision, entry.precision)],
        head=artifact.manifest.sidecar.classes > 0,
        batch=1 if entry.batch is None else entry.batch[0],
    )
    cache.store(_KIND, facts, _PASSED)


def check_plan_parity(
    engine: Engine, probe: ParityProbe, thresholds: ParityThresholds, *, head: bool = True, batch: int = 1
) -> None:
    """Run the stored frames through an engine and hold its taps and answers against the stored ones.

    Gradients, which need PyTorch, were compared at export, on the plan's graph.

    Args:
        engine: open on this device.
        probe: of its artifact (`load_parity_probe`).
        thresholds: of the engine's precision (`PrecisionSettings().thresholds`).
        head: whether the model answers with classes.
        batch: smallest that the engine takes; a frame fills it.

    Raises:
        GateError: parity does not hold.
        EngineError: the engine failed.
    """
    runs = (engine.run(np.repeat(image, batch, axis=0)) for image in probe.images)
    found = [{name: values[:1] for name, values in outputs.items()} for outputs in runs]
    deviations = [
        deviation_of(one, expected, head=head) for one, expected in zip(found, probe.outputs, strict=True)
    ]
    failures = failures_of(deviations, thresholds)
    if failures:
        raise GateError(
            f"{engine.name} does not compute what the artifact's fp32 engine did on {len(deviations)} stored "
            f"frames: {'; '.join(failures)}. Build it again with `moase-edge export --rebuild DIR`, take another "
            "precision, or run with --engine ort."
        )
