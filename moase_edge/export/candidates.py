"""Engines in other precisions: each built from the fp32 graph, and compared with it on the same frames."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from moase_edge.artifact.calibration import save_calibration
from moase_edge.artifact.manifest import EngineParity, Precision
from moase_edge.calib.engine_parity import EngineComparison, Reference
from moase_edge.calib.representative import Representative
from moase_edge.calib.twin import graph_file, open_twin
from moase_edge.config.calib import QuantiseSettings
from moase_edge.config.names import LowerPrecision
from moase_edge.config.precision import HalfPrecision, HalfStrategy, ParityThresholds
from moase_edge.engines.base import Engine
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine, available_providers
from moase_edge.errors import EngineError
from moase_edge.export.half import WIDE_NODES, half_graph
from moase_edge.report.files import write_bytes_atomic

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A graph in a precision, and how it compares with the fp32 one.

    Attributes:
        file: of the graph, in the artifact's folder.
        parity: for the manifest.
        comparison: figures of every frame.
        form: how it was made, for parity.json.
    """

    precision: LowerPrecision
    file: str
    parity: EngineParity
    comparison: EngineComparison
    form: dict[str, Any] = field(default_factory=dict)


def half_candidate(
    precision: HalfPrecision, exact: Path, folder: Path, reference: Reference, thresholds: ParityThresholds
) -> Candidate:
    """Write the fp32 graph's twin in half; of the strategies the first that holds parity, else the last.

    Args:
        exact: the fp32 graph.
        folder: of the artifact that is being built.
    """
    import onnx

    model = onnx.load(str(exact))
    strategies = cast("list[HalfStrategy]", list(WIDE_NODES))
    for strategy in strategies:
        half = half_graph(model, precision, strategy)
        write_bytes_atomic(folder / graph_file(precision), half.SerializeToString(deterministic=True))
        candidate = _compared(precision, folder, reference, thresholds, {"strategy": strategy})
        if candidate.parity.passed:
            break
    return candidate


def int8_candidate(
    exact: Path,
    folder: Path,
    reference: Reference,
    thresholds: ParityThresholds,
    *,
    chosen: Representative,
    settings: QuantiseSettings,
    hold_out: int,
) -> Candidate:
    """Write the fp32 graph's twin in int8, and calibration.json, which a run is watched by.

    Args:
        exact, folder: as of `half_candidate`.
        chosen: frames for the ranges; one in `hold_out` judges them.

    Raises:
        CalibrationError: frames or a graph that cannot be used.
    """
    from moase_edge.calib.int8_record import record_of
    from moase_edge.calib.observe import observations_folder
    from moase_edge.calib.search import int8_as_set

    out = folder / graph_file("int8")
    found = int8_as_set(
        exact,
        out,
        chosen.frames,
        settings,
        hold_out=hold_out,
        head=reference.head,
        cache=observations_folder(),
    )
    save_calibration(record_of(found, chosen, max_drop=None), folder)
    form = {
        "settings": settings.model_dump(),
        "share_of_multiply_adds": found.quantised.share,
        "frames": found.ranging,
    }
    return _compared("int8", folder, reference, thresholds, form)


def open_here(path: Path, precision: Precision) -> Engine:
    """A graph in this precision as ONNX Runtime runs it on this device: on a GPU that it can use, else the CPU.

    Raises:
        EngineError: it cannot run here.
    """
    if "cuda" in available_providers():
        try:
            return OnnxRuntimeEngine(path, provider="cuda", precision=precision)
        except EngineError as exc:
            logger.warning("measuring on the CPU: %s", exc)
    return OnnxRuntimeEngine(path, precision=precision)


def _compared(
    precision: LowerPrecision,
    folder: Path,
    reference: Reference,
    thresholds: ParityThresholds,
    form: dict[str, Any],
) -> Candidate:
    with closing(open_twin(folder / graph_file(precision), precision)) as engine:
        comparison = reference.compare(engine, thresholds)
        parity = comparison.figures(f"{engine.name}, {reference.title}")
    return Candidate(precision, graph_file(precision), parity, comparison, form)
