"""An int8 engine for an artifact that was made without, from frames like those of its deployment."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any

from moase_edge.artifact.calibration import CALIBRATION_FILE, CalibrationRecord, save_calibration
from moase_edge.artifact.manifest import EngineEntry, EngineParity, Manifest
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact
from moase_edge.calib.int8_record import record_of
from moase_edge.calib.pictures import Pictures
from moase_edge.calib.representative import Representative
from moase_edge.calib.search import Announce, dealt, find_int8
from moase_edge.calib.source_data import plain_name
from moase_edge.config.calib import QuantiseSettings, SearchSettings
from moase_edge.config.precision import PrecisionSettings
from moase_edge.errors import CalibrationError, ConfigError, GateError
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
    max_images: int | None = None,
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
        max_images: take no more than the first so many of `source`.
        first: the int8 engine goes before the others, so that `run` takes it.
        force: replace an int8 engine that is there, with the plans that were built from it.
        cache: folder for what was observed so far.
        announce: is told which stage begins.

    Raises:
        ConfigError: it holds an int8 engine and `force` is not given, or its folder cannot be replaced.
        CalibrationError: frames, graph or images that cannot be used.
        GateError: no mixture of int8 and float keeps the budget, or parity with fp32 does not hold; the artifact
            stays as it was.
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
        announce("checking parity of the int8 engine with fp32")
        parity = _parity(artifact, graph, building, chosen, search)
        records.append(record_of(found, chosen, max_drop=search.max_drop))
        save_calibration(records[0], building)
        entry = EngineEntry(file=INT8_FILE, opset=graph.opset, precision="int8", parity=parity)
        statistics = [of for of in manifest.source_statistics if of.precision != "int8"]
        if source is not None:
            announce("recording source statistics of the int8 engine")
            statistics.append(_statistics(artifact, building, source, max_images))
        return {**with_int8(manifest, entry, first=first), "source_statistics": tuple(statistics)}

    return replace_artifact(artifact, add, dropped=_files_of_int8(manifest)), records[0]


def with_int8(manifest: Manifest, entry: EngineEntry, *, first: bool) -> dict[str, Any]:
    """Fields of the manifest with another int8 engine: where the old one was, or before all others.

    Where it is to be first, what was measured of the others goes, because that would put them before it.
    """
    before = list(takewhile(lambda other: other.precision != "int8", manifest.engines))
    others = [other for other in manifest.engines if not _of_int8(other, manifest)]
    if not first:
        place = sum(other in before for other in others)
        return {"engines": (*others[:place], entry, *others[place:])}
    unmeasured = [other.model_copy(update={"latency_ms": None, "measured_on": None}) for other in others]
    return {"engines": (entry, *unmeasured), "undecided": False}


def _parity(
    artifact: Artifact, graph: EngineEntry, building: Path, chosen: Representative, search: SearchSettings
) -> EngineParity:
    """Of the int8 graph with the fp32 one, on held-out frames."""
    from moase_edge.adapt.sidecar import load_sidecar
    from moase_edge.calib.engine_parity import Reference, moved
    from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine

    manifest, settings = artifact.manifest, PrecisionSettings()
    sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
    held = dealt(chosen.frames, search.hold_out)[1]
    pictures = Pictures(tuple(held), plain_name(chosen.coverage.source)).spread(settings.frames)
    with closing(OnnxRuntimeEngine(artifact.path(graph.file))) as exact:
        reference = Reference(exact, moved(sidecar, manifest.provenance.seed), pictures)
    with closing(OnnxRuntimeEngine(building / INT8_FILE, precision="int8")) as engine:
        comparison = reference.compare(engine, settings.thresholds["int8"])
        title = f"{engine.name}, {reference.title}"
    if comparison.failures:
        raise GateError(
            f"parity of int8 with fp32 on {reference.title} does not hold: {'; '.join(comparison.failures)}. The "
            "artifact stays as it was. Calibrate on more frames, or with a smaller --max-drop and --min-int8, "
            "which leave more in float."
        )
    return comparison.figures(title)


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


def _of_int8(entry: EngineEntry, manifest: Manifest) -> bool:
    """Whether an engine is int8, or a plan that was built from an int8 graph."""
    graphs = {other.file for other in manifest.engines if other.precision == "int8"}
    return entry.precision == "int8" or entry.source in graphs


def _files_of_int8(manifest: Manifest) -> list[str]:
    engines = [entry.file for entry in manifest.engines if _of_int8(entry, manifest)]
    statistics = [of.file for of in manifest.source_statistics if of.precision == "int8"]
    return [name for name in (*engines, *statistics, CALIBRATION_FILE) if name in manifest.files]


def _statistics(artifact: Artifact, building: Path, source: Source, max_images: int | None) -> Any:
    from moase_edge.adapt.sidecar import load_sidecar
    from moase_edge.calib.source_data import write_source_statistics
    from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine

    manifest = artifact.manifest
    sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
    with closing(OnnxRuntimeEngine(building / INT8_FILE, precision="int8")) as engine:
        return write_source_statistics(
            building,
            engine,
            sidecar,
            manifest.preprocess,
            source,
            precision="int8",
            command="calibrate",
            max_images=max_images,
        )
