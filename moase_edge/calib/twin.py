"""Engines that show a precision as it is: what runs here, or a twin that rounds where the CPU would not."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from moase_edge.artifact.manifest import EngineEntry, Manifest, Precision
from moase_edge.artifact.store import Artifact
from moase_edge.calib.rounded import rounded_graph
from moase_edge.config.precision import HalfPrecision
from moase_edge.engines.base import Engine
from moase_edge.engines.choose import choices
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.open import open_engine, survey
from moase_edge.errors import EngineError

logger = logging.getLogger(__name__)

GRAPH_FILE = "backbone.onnx"
HALVES: tuple[HalfPrecision, ...] = ("fp16", "bf16")


def graph_file(precision: Precision) -> str:
    """Name of the graph in a precision: `backbone.onnx`, `backbone.fp16.onnx`."""
    return GRAPH_FILE if precision == "fp32" else f"backbone.{precision}.onnx"


def graph_of(manifest: Manifest, precision: Precision) -> EngineEntry | None:
    """The artifact's graph in a precision; None where it holds none."""
    graphs = (entry for entry in manifest.engines if entry.runtime == "onnx")
    return next((entry for entry in graphs if entry.precision == precision), None)


def open_twin(graph: Path, precision: Precision) -> Engine:
    """What computes on any CPU what an engine in this precision would: its graph, half values rounded.

    Raises:
        EngineError: ONNX Runtime refuses the graph.
        ModuleNotFoundError: onnx is missing, which a half needs.
    """
    if precision not in HALVES:
        return OnnxRuntimeEngine(graph, precision=precision)
    import onnx

    rounded = rounded_graph(onnx.load(str(graph)))
    engine = OnnxRuntimeEngine(rounded.SerializeToString(), precision=precision)
    engine.name += f", every {precision} value rounded"
    return engine


def open_each(artifact: Artifact, precisions: Collection[Precision], stack: ExitStack) -> dict[Precision, Engine]:
    """An engine for each precision that can be shown here, as `stack` closes them; says which cannot.

    Raises:
        EngineError: not one of them runs here.
    """
    found: dict[Precision, Engine] = {}
    refused: list[str] = []
    for precision in precisions:
        try:
            found[precision] = open_shown(artifact, precision)
        except EngineError as exc:
            logger.warning("%s is left out: %s", precision, exc)
            refused.append(f"{precision}: {exc}")
            continue
        stack.callback(found[precision].close)
    if precisions and not found:
        raise EngineError(" ".join(refused))
    return found


def open_shown(artifact: Artifact, precision: Precision) -> Engine:
    """The best engine of a precision here; of a half that only ONNX Runtime's CPU provider would run, its twin.

    That provider has few kernels in half: it drops the rounding of float16, and refuses bfloat16.

    Without onnx, which a twin takes, float16 is shown without its rounding.

    Raises:
        EngineError: none runs here.
    """
    entries = [entry for entry in artifact.manifest.engines if entry.precision == precision]
    graph = graph_of(artifact.manifest, precision)
    best = choices(entries, survey(artifact))[0]
    if best.runner != "ort" or precision not in HALVES or graph is None:
        return open_engine(artifact, precision=precision)
    try:
        return open_twin(artifact.path(graph.file), precision)
    except ModuleNotFoundError as exc:
        logger.warning(
            "%s is shown without its rounding: that takes %s, `pip install 'moase-edge[export]'`",
            precision,
            exc.name,
        )
        return open_engine(artifact, precision=precision)
