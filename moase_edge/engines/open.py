"""Open an engine of an artifact on this device: the one that was named, or the best that opens."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from moase_edge.artifact.cache import cache_folder
from moase_edge.artifact.manifest import EngineEntry, Precision
from moase_edge.artifact.store import Artifact
from moase_edge.config.names import EngineName
from moase_edge.engines.base import Engine
from moase_edge.engines.choose import GRAPH_RUNNERS, Choice, Machine, choices
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine, Provider, available_providers
from moase_edge.engines.tensorrt.device import find_device
from moase_edge.engines.tensorrt.flavour import available_flavours, find_flavour
from moase_edge.engines.tensorrt.open import open_plan
from moase_edge.errors import EngineError, GateError
from moase_edge.metrics.processor import processor_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine that is open.

    Attributes:
        reason: why this one, as a clause.
    """

    engine: Engine
    reason: str


def open_engine(
    artifact: Artifact,
    name: EngineName = "auto",
    *,
    threads: int | None = None,
    precision: Precision | None = None,
) -> Engine:
    """The engine alone, for callers that do not ask which it is; see `open_chosen`."""
    return open_chosen(artifact, name, threads=threads, precision=precision).engine


def open_chosen(
    artifact: Artifact,
    name: EngineName = "auto",
    *,
    threads: int | None = None,
    precision: Precision | None = None,
    graphs: bool = True,
) -> Opened:
    """Open the engine that was named, or for `auto` the best that opens (see `choices`).

    Args:
        threads: of ONNX Runtime on the CPU.
        precision: take no engine of another one.
        graphs: capture CUDA graphs of a plan.

    Raises:
        ArtifactError: the manifest names no such engine file.
        EngineError: there is nothing of this precision, or what was asked for cannot run here; of `auto`, the last
            that was tried.
    """
    entries = [entry for entry in artifact.manifest.engines if precision in (None, entry.precision)]
    if precision is not None and not entries:
        held = ", ".join(dict.fromkeys(entry.precision for entry in artifact.manifest.engines))
        raise EngineError(
            f"{artifact.folder} holds no engine at {precision}, only at {held}. Make one: `moase-edge export "
            f"--rebuild {artifact.folder} --precision {precision}`, with --calib-data for int8."
        )
    found = choices(entries, survey(artifact), name)
    refused: list[str] = []
    for choice in found[:-1]:
        try:
            return _opened(artifact, choice, refused, threads=threads, graphs=graphs)
        except (EngineError, GateError) as exc:
            what = f"{choice.runner} does not open {choice.entry.file}"
            logger.warning("%s, and the next best is tried: %s", what, exc)
            refused.append(what)
    return _opened(artifact, found[-1], refused, threads=threads, graphs=graphs)


def survey(artifact: Artifact) -> Machine:
    """What there is on this machine, as far as the artifact's engines could use it."""
    wanted = {entry.runtime for entry in artifact.manifest.engines}
    flavours = {
        runtime: find_flavour(runtime).version
        for runtime in (available_flavours() if wanted - {"onnx"} else [])
        if runtime in wanted
    }
    return Machine(processor_name(), find_device(), frozenset(_providers()), flavours)


def _providers() -> set[Provider]:
    try:
        return available_providers()
    except EngineError as exc:
        logger.debug("%s", exc)
        return set()


def _opened(
    artifact: Artifact, choice: Choice, refused: list[str], *, threads: int | None, graphs: bool
) -> Opened:
    engine = open_choice(artifact, choice, threads=threads, graphs=graphs)
    reason = "; ".join([choice.reason, *refused])
    logger.info("%s runs the backbone in %s: %s", engine.name, choice.entry.precision, reason)
    return Opened(engine, reason)


def open_choice(artifact: Artifact, choice: Choice, *, threads: int | None = None, graphs: bool = True) -> Engine:
    """Open one choice.

    Raises:
        ArtifactError, EngineError: see `open_chosen`.
    """
    if choice.runner not in GRAPH_RUNNERS:
        return open_plan(artifact, choice.entry, graphs=graphs)
    return _open_graph(artifact, choice.entry, GRAPH_RUNNERS[choice.runner], threads=threads)


def _open_graph(artifact: Artifact, entry: EngineEntry, provider: Provider, *, threads: int | None) -> Engine:
    """ONNX Runtime; on a GPU with tensors left there, where PyTorch sees it too."""
    model = artifact.path(entry.file)
    on_host = partial(OnnxRuntimeEngine, model, provider=provider, threads=threads, precision=entry.precision)
    if provider == "cpu":
        return on_host()
    try:
        import torch

        from moase_edge.engines.onnx_runtime_device import OnnxRuntimeDeviceEngine
    except (ImportError, OSError):
        return on_host()
    if not torch.cuda.is_available():
        return on_host()
    device = torch.device("cuda", torch.cuda.current_device())
    cache = _built_cache(artifact.manifest.files[entry.file]) if provider == "tensorrt" else None
    return OnnxRuntimeDeviceEngine(model, provider=provider, device=device, precision=entry.precision, cache=cache)


def _built_cache(digest: str) -> Path | None:
    """The folder of what ONNX Runtime builds of one graph; None where it cannot be written.

    ONNX Runtime names what it builds by the graph's node names, which graphs of other weights share.
    """
    folder = cache_folder() / "ort-tensorrt" / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        logger.info("what ONNX Runtime builds with TensorRT is not kept: %s", exc)
        return None
    return folder
