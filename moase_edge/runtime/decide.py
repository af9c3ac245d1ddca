"""Which precision is the fastest on this device: measured at the first run of an artifact that left it open."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.cache import Cache, cache_folder
from moase_edge.artifact.manifest import EngineEntry, Precision
from moase_edge.artifact.parity_probe import load_parity_probe
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.config.precision import PrecisionSettings
from moase_edge.engines.base import Engine
from moase_edge.engines.choose import GRAPH_RUNNERS, Choice, Machine, choices, fits, misfits
from moase_edge.engines.open import open_choice, survey
from moase_edge.engines.timing import fastest, measure
from moase_edge.errors import ArtifactError, ConfigError, EngineError, GateError, StorageError

_KIND = "decision"

logger = logging.getLogger(__name__)


def decide_precision(
    artifact: Artifact,
    *,
    threads: int | None = None,
    settings: PrecisionSettings | None = None,
    cache: Cache | None = None,
) -> Artifact:
    """The artifact with the fastest engine first, and what was measured; as it is where nothing is open.

    Every precision is measured with the engine that `auto` would take of it. The decision is put into the artifact
    (a new folder, swapped in by rename), or into the user's cache where its place cannot be written, and where the
    artifact is meant for plans and one does not fit here, or none runs here: another device, or this one with its
    plans, decides for itself. Where an engine did not open, for want of memory perhaps, it is of this once.

    Args:
        threads: of ONNX Runtime on the CPU.
        settings: of timing.
        cache: None for the user's own.

    Raises:
        ArtifactError: the artifact was changed meanwhile.
        EngineError: the artifact holds nothing that could be meant.
    """
    if not artifact.manifest.undecided:
        return artifact
    kept, machine = cache or Cache(cache_folder()), survey(artifact)
    facts = _facts(artifact, machine)
    if (found := kept.load(_KIND, facts)) is not None:
        return _decided(artifact, json.loads(found)["engines"])
    logger.warning("measuring which of the artifact's precisions is the fastest on this device, this once")
    candidates = _candidates(artifact, machine, threads)
    engines = _measured(artifact, candidates, settings or PrecisionSettings())
    plain = [entry.model_dump(mode="json") for entry in engines]
    if any(candidate.missed for candidate in candidates.values()):
        return _decided(artifact, plain)
    if not _made_for_another(artifact, machine) and (written := _written(artifact, engines)) is not None:
        return decide_precision(written, threads=threads, settings=settings, cache=cache)
    kept.store(_KIND, facts, json.dumps({"engines": plain}).encode())
    return _decided(artifact, plain)


def _made_for_another(artifact: Artifact, machine: Machine) -> bool:
    """Whether a plan does not fit here, or there shall be plans and none is here yet."""
    manifest = artifact.manifest
    strange = any(entry.built_for is not None and misfits(entry, machine) for entry in manifest.engines)
    found = choices(manifest.engines, machine)
    return strange or (bool(manifest.targets) and all(choice.runner in GRAPH_RUNNERS for choice in found))


def _written(artifact: Artifact, engines: tuple[EngineEntry, ...]) -> Artifact | None:
    """The artifact with the decision, or what another process put in its place meanwhile; None for neither.

    Raises:
        ArtifactError: it was changed otherwise.
    """
    fields = {"engines": engines, "undecided": False}
    try:
        return replace_artifact(artifact, lambda _building: fields)
    except (StorageError, ConfigError) as exc:
        logger.info("the decision is kept in the cache: %s", exc)
        return None
    except ArtifactError:
        there = load_artifact(artifact.folder)
        if there.manifest == artifact.manifest:
            raise
        logger.info("another process has replaced %s meanwhile; its artifact is taken", artifact.folder)
        return there


def _facts(artifact: Artifact, machine: Machine) -> dict[str, object]:
    device = machine.device
    return {
        "manifest": artifact.manifest.manifest_sha256,
        "processor": machine.processor,
        "device": None if device is None else [device.gpu, *sorted(device.versions.items())],
        "flavours": dict(sorted(machine.flavours.items())),
    }


def _decided(artifact: Artifact, engines: list[dict[str, Any]]) -> Artifact:
    entries = tuple(EngineEntry(**entry) for entry in engines)
    manifest = artifact.manifest.model_copy(update={"engines": entries, "undecided": False})
    return Artifact(artifact.folder, manifest)


def _measured(
    artifact: Artifact, candidates: Mapping[Precision, _Candidate], settings: PrecisionSettings
) -> tuple[EngineEntry, ...]:
    """The engines with the fastest precision first, those that were measured with their latency."""
    measured = measure(
        candidates, _image(artifact), rounds=settings.rounds, warm_up=settings.warm_up, seconds=settings.seconds
    )
    if not measured:  # opening the best says why
        return artifact.manifest.engines
    chosen = fastest({name: found.latency_ms for name, found in measured.items()}, tie=settings.tie)
    figures = {
        candidates[precision].file: {"latency_ms": found.latency_ms, "measured_on": found.measured_on}
        for precision, found in measured.items()
    }
    entries = [
        entry.model_copy(update=figures[entry.file]) if entry.file in figures else entry
        for entry in artifact.manifest.engines
    ]
    # Graphs keep going before plans of one precision, because plans are built from the first graph.
    return tuple(sorted(entries, key=lambda entry: entry.precision != chosen))


class _Candidate:
    """Opens the best engine of one precision that passes its check.

    Attributes:
        file: of the one that was opened.
        missed: whether one did not open for a reason that may pass.
    """

    def __init__(self, artifact: Artifact, found: Sequence[Choice], threads: int | None) -> None:
        self._artifact, self._found, self._threads = artifact, found, threads
        self.file = found[0].entry.file
        self.missed = False

    def __call__(self) -> Engine:
        *others, last = self._found
        for choice in others:
            try:
                return self._opened(choice)
            except GateError as exc:
                logger.warning("%s is not measured: %s", choice.entry.file, exc)
        return self._opened(last)

    def _opened(self, choice: Choice) -> Engine:
        self.file = choice.entry.file
        try:
            return open_choice(self._artifact, choice, threads=self._threads)
        except EngineError as exc:
            self.missed = True
            logger.warning("%s does not open, so what is the fastest is asked again: %s", self.file, exc)
            raise


def _candidates(artifact: Artifact, machine: Machine, threads: int | None) -> dict[Precision, _Candidate]:
    """Of every precision the engines that could be taken here."""
    found: dict[Precision, _Candidate] = {}
    for precision in dict.fromkeys(entry.precision for entry in artifact.manifest.engines):
        entries = [entry for entry in artifact.manifest.engines if entry.precision == precision]
        try:
            fitting = [each for each in choices(entries, machine) if fits(each.entry, each.runner, machine)]
        except EngineError as exc:
            logger.info("%s is not measured: %s", precision, exc)
            continue
        if fitting:
            found[precision] = _Candidate(artifact, fitting, threads)
    return found


def _image(artifact: Artifact) -> NDArray[np.float32]:
    """One frame to measure with: a stored one, else zeros."""
    probe = load_parity_probe(artifact)
    spec = artifact.manifest.preprocess
    return probe.images[0] if probe is not None else np.zeros((1, 3, spec.height, spec.width), np.float32)
