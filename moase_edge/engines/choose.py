"""Which engine runs an artifact on this device, and why."""

from __future__ import annotations

import logging
from typing import Literal

from moase_edge.artifact.store import Artifact
from moase_edge.config.names import EngineName
from moase_edge.engines.base import Engine
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine, cuda_available
from moase_edge.errors import EngineError

logger = logging.getLogger(__name__)


def open_engine(artifact: Artifact, name: EngineName = "auto", *, threads: int | None = None) -> Engine:
    """Open the artifact's engine.

    `auto` takes ONNX Runtime's CUDA provider where this build has one and it loads, else its CPU provider; it
    warns where one does not load.

    Raises:
        ArtifactError: the manifest names no such engine file.
        EngineError: what was asked for cannot run here.
    """
    model = artifact.path(artifact.manifest.engines[0].file)
    if name == "auto" and cuda_available():
        try:
            return OnnxRuntimeEngine(model, provider="cuda", threads=threads)
        except EngineError as exc:
            logger.warning("running on the CPU: %s", exc)
    provider: Literal["cpu", "cuda"] = "cuda" if name == "ort-cuda" else "cpu"
    return OnnxRuntimeEngine(model, provider=provider, threads=threads)
