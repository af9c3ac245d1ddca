"""An int8 engine for an artifact that was made without, from frames like those of its deployment."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moase_edge.artifact.calibration import (
    CALIBRATION_FILE,
    CalibrationFrames,
    CalibrationRecord,
    LayerRecord,
    LossRecord,
    save_calibration,
)
from moase_edge.artifact.manifest import EngineEntry, Manifest
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact
from moase_edge.calib.fidelity import Fidelity
from moase_edge.calib.histogram import signal_to_noise_db
from moase_edge.calib.products import Product
from moase_edge.calib.representative import Representative
from moase_edge.calib.search import Announce, Found, find_int8
from moase_edge.config.calib import QuantiseSettings, SearchSettings
from moase_edge.errors import CalibrationError, ConfigError
from moase_edge.frames.source import Source

logger = logging.getLogger(__name__)

INT8_FILE = "backbone.int8.onnx"
LABELS_FILE = "labels.json"


def calibrate_int8(
    artifact: Artifact,
    chosen: Representative,
    settings: QuantiseSettings,
    search: SearchSettings,
    *,
    labels: Mapping[str, int] | None = None,
    source: Source | None = None,
    first: bool = False,
    force: bool = False,
    cache: Path | None = None,
    announce: Announce = logger.info,
) -> tuple[Artifact, CalibrationRecord]:
    """Put an artifact with an int8 engine in the place of `artifact`; see `find_int8` for how it is found.

    Args:
        artifact: loaded and verified.
        chosen: frames that ranges are taken from and that judge them.
        labels: class by file name; without one for every frame, answers are compared with the float engine's.
        source: images of the source domain; the statistics of the int8 engine are taken from them.
        first: the int8 engine goes before the others, so that `run` takes it.
        force: replace an int8 engine that is there, with the plans that were built from it.
        cache: folder for what was observed so far.
        announce: is told which stage begins.

    Raises:
        ConfigError: it holds an int8 engine and `force` is not given, or its folder cannot be replaced.
        CalibrationError: frames, graph or images that cannot be used.
        GateError: no mixture of int8 and float keeps the budget; the artifact stays as it was.
        ArtifactError: it was changed meanwhile.
        StorageError: the folder's place cannot be written.
    """
    manifest = artifact.manifest
    refuse_int8(artifact, force=force)
    graph = next(entry for entry in manifest.engines if entry.runtime == "onnx" and entry.precision == "fp32")
    classes = labels_of(chosen, labels) if manifest.sidecar.classes else None
    records: list[CalibrationRecord] = []

    def add(building: Path) -> dict[str, Any]:
        found = find_int8(
            artifact.path(graph.file),
            building / INT8_FILE,
            chosen.frames,
            settings,
            search,
            head=manifest.sidecar.classes > 0,
            labels=classes,
            cache=cache,
            announce=announce,
        )
        records.append(record_of(found, chosen, search))
        save_calibration(records[0], building)
        entry = EngineEntry(file=INT8_FILE, opset=graph.opset, precision="int8")
        others = tuple(other for other in manifest.engines if not _of_int8(other, manifest))
        engines = (entry, *others) if first else (*others, entry)
        statistics = [of for of in manifest.source_statistics if of.precision != "int8"]
        if source is not None:
            announce("recording source statistics of the int8 engine")
            statistics.append(_statistics(artifact, building, source))
        return {"engines": engines, "source_statistics": tuple(statistics)}

    return replace_artifact(artifact, add, dropped=_files_of_int8(manifest)), records[0]


def refuse_int8(artifact: Artifact, *, force: bool) -> None:
    """Refuse an artifact that has an int8 engine, unless `force` is given.

    Raises:
        ConfigError: it has one.
    """
    if not force and any(entry.precision == "int8" for entry in artifact.manifest.engines):
        raise ConfigError(f"{artifact.folder} holds an int8 engine. Give --force to replace it.")


def read_labels(folder: Path) -> dict[str, int] | None:
    """Class by file name from the labels.json of a folder of pictures; None without one.

    Raises:
        CalibrationError: it is no JSON object of whole numbers.
    """
    path = folder / LABELS_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(label, int) and not isinstance(label, bool) for label in found.values()):
            raise ValueError("a class is no whole number")
    except (OSError, ValueError, AttributeError) as exc:
        raise CalibrationError(
            f"{path} is no object of classes by file name: {exc}. Repair it, or move it away to compare with the "
            "float engine's answers."
        ) from exc
    return dict(found)


def labels_of(chosen: Representative, labels: Mapping[str, int] | None) -> list[int] | None:
    """The class of each frame; None, with a warning where some are known, unless all are."""
    if labels is None:
        return None
    missing = [name for name in chosen.names if name is None or name not in labels]
    if missing:
        logger.warning("%d calibration frames have no label; answers are compared instead", len(missing))
        return None
    return [labels[name] for name in chosen.names if name is not None]


def record_of(found: Found, chosen: Representative, search: SearchSettings) -> CalibrationRecord:
    """What calibration.json says of a graph that was found."""
    gains = {each.product.node: each.gain for each in found.sensitivities}
    quantised = found.quantised

    def layer(product: Product, *, int8: bool) -> LayerRecord:
        ranges = {name: quantised.ranges[name] for name in product.activations} if int8 else {}
        noise = {name: signal_to_noise_db(found.seen[name], reach) for name, reach in ranges.items()}
        return LayerRecord(
            layer=product.title,
            node=product.node,
            int8=int8,
            multiply_adds=product.multiply_adds,
            ranges=ranges,
            signal_to_noise_db=noise,
            gain=gains.get(product.node),
        )

    return CalibrationRecord(
        engine=INT8_FILE,
        method=found.method,
        max_drop=search.max_drop,
        share=quantised.share,
        frames=CalibrationFrames(
            **{**asdict(chosen.coverage), "source": _plain(chosen.coverage.source)},
            ranging=found.ranging,
            held_out=found.held,
        ),
        loss=_loss(found.fidelity),
        by_method={method: _loss(fidelity) for method, fidelity in found.by_method.items()},
        layers=(
            *(layer(product, int8=True) for product in quantised.nodes),
            *(layer(product, int8=False) for product in quantised.kept),
        ),
        spans=found.spans,
    )


def _plain(name: str) -> str:
    from moase_edge.calib.source_data import plain_name

    return plain_name(name)


def _loss(fidelity: Fidelity) -> LossRecord:
    return LossRecord(
        agreement=fidelity.agreement,
        accuracy=fidelity.accuracy,
        source_accuracy=fidelity.source_accuracy,
        feature_error=fidelity.feature_error,
        drop=fidelity.drop,
    )


def _of_int8(entry: EngineEntry, manifest: Manifest) -> bool:
    """Whether an engine is int8, or a plan that was built from an int8 graph."""
    graphs = {other.file for other in manifest.engines if other.precision == "int8"}
    return entry.precision == "int8" or entry.source in graphs


def _files_of_int8(manifest: Manifest) -> list[str]:
    engines = [entry.file for entry in manifest.engines if _of_int8(entry, manifest)]
    statistics = [of.file for of in manifest.source_statistics if of.precision == "int8"]
    return [name for name in (*engines, *statistics, CALIBRATION_FILE) if name in manifest.files]


def _statistics(artifact: Artifact, building: Path, source: Source) -> Any:
    from moase_edge.adapt.sidecar import load_sidecar
    from moase_edge.calib.source_data import write_source_statistics
    from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine

    manifest = artifact.manifest
    sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
    with closing(OnnxRuntimeEngine(building / INT8_FILE, precision="int8")) as engine:
        return write_source_statistics(
            building, engine, sidecar, manifest.preprocess, source, precision="int8", command="calibrate"
        )
