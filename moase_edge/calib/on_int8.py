"""An int8 engine for an artifact that was made without, from frames like those of its deployment."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.calibration import (
    CALIBRATION_FILE,
    CalibrationRecord,
    load_calibration,
    save_calibration,
)
from moase_edge.artifact.manifest import EngineEntry, EngineParity, Manifest, SourceStatisticsEntry
from moase_edge.artifact.order import put_first, told_of_plans
from moase_edge.artifact.replace import replace_artifact
from moase_edge.artifact.store import Artifact
from moase_edge.calib.engine_parity import Reference, moved
from moase_edge.calib.evidence import add_evidence, evidence_of
from moase_edge.calib.int8_record import record_of
from moase_edge.calib.on_site import beside_others, without_statistics
from moase_edge.calib.pictures import Pictures
from moase_edge.calib.probe import write_probe
from moase_edge.calib.representative import Representative
from moase_edge.calib.search import Announce, Found, dealt, find_int8
from moase_edge.calib.source_data import plain_name, write_source_statistics
from moase_edge.calib.twin import open_each, open_twin
from moase_edge.config.calib import QuantiseSettings, SearchSettings
from moase_edge.config.precision import PrecisionSettings
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.errors import CalibrationError, ConfigError, GateError
from moase_edge.frames.source import Source

logger = logging.getLogger(__name__)

INT8_FILE = "backbone.int8.onnx"
LABELS_FILE = "labels.json"


@dataclass(frozen=True, slots=True)
class SourceImages:
    """What source statistics are taken from beside an int8 engine.

    Attributes:
        source: images of the source domain, open.
        most: take no more than the first so many; None for all.
    """

    source: Source
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Int8Work:
    """How an int8 engine is found, and what comes with it.

    Attributes:
        settings, search: as `find_int8` takes them.
        images: statistics are taken from them, of the int8 engine and of every precision that has none.
        first: it goes before the other engines (`with_int8`).
        cache: folder for what was observed so far; None keeps nothing.
        announce: is told which stage begins.
    """

    settings: QuantiseSettings
    search: SearchSettings
    images: SourceImages | None = None
    first: bool = False
    cache: Path | None = None
    announce: Announce = logger.info


def calibrate_int8(
    artifact: Artifact,
    chosen: Representative,
    work: Int8Work,
    *,
    labels: Mapping[str, int] | None = None,
    force: bool = False,
) -> tuple[Artifact, CalibrationRecord]:
    """Put an artifact with an int8 engine in the place of `artifact`; see `find_int8` for how it is found.

    Args:
        artifact: loaded and verified.
        chosen: frames that ranges are taken from and that judge them.
        labels: class by file name; without one for every frame, answers are compared with the float engine's.
        force: replace an int8 engine that is there, with the plans that were built from it.

    Raises:
        ConfigError: it holds an int8 engine and `force` is not given, or its folder cannot be replaced.
        CalibrationError: frames, graph or images that cannot be used.
        GateError: no mixture keeps the budget, or parity with fp32 does not hold; the artifact stays as it was.
        ArtifactError: it was changed meanwhile.
        StorageError: the folder's place cannot be written.
    """
    refuse_int8(artifact, force=force)
    change = partial(_added, artifact=artifact, chosen=chosen, work=work, labels=labels)
    written = replace_artifact(artifact, change, dropped=_files_of_int8(artifact.manifest))
    if work.first and (told := told_of_plans(written.manifest.engines, artifact.folder)):
        logger.warning("%s", told)
    return written, cast(CalibrationRecord, load_calibration(written))


def _added(
    building: Path,
    *,
    artifact: Artifact,
    chosen: Representative,
    work: Int8Work,
    labels: Mapping[str, int] | None,
) -> dict[str, Any]:
    """Write the engine and its record into a folder that is being built, and give the manifest's fields."""
    manifest = artifact.manifest
    graph = next(entry for entry in manifest.engines if entry.runtime == "onnx" and entry.precision == "fp32")
    found = find_int8(
        artifact.path(graph.file),
        building / INT8_FILE,
        chosen.frames,
        work.settings,
        work.search,
        head=manifest.sidecar.classes > 0,
        labels=labels_of(chosen, labels),
        cache=work.cache,
        announce=work.announce,
    )
    work.announce("checking parity of the int8 engine with fp32")
    parity = _parity(
        artifact, graph, building, _held_out(chosen, work.search.hold_out), _form(found, work.settings)
    )
    save_calibration(record_of(found, chosen, max_drop=work.search.max_drop), building)
    entry = EngineEntry(file=INT8_FILE, opset=graph.opset, precision="int8", parity=parity)
    statistics = _statistics(artifact, building, work.images, work.announce)
    return {**with_int8(manifest, entry, first=work.first), "source_statistics": statistics}


def with_int8(manifest: Manifest, entry: EngineEntry, *, first: bool) -> dict[str, Any]:
    """Fields of the manifest with another int8 engine: where the old one was, or first (`put_first`)."""
    before = list(takewhile(lambda other: other.precision != "int8", manifest.engines))
    others = [other for other in manifest.engines if not _of_int8(other, manifest)]
    if first:
        return {"engines": put_first((entry, *others), "int8"), "undecided": False}
    place = sum(other in before for other in others)
    return {"engines": (*others[:place], entry, *others[place:])}


def _held_out(chosen: Representative, hold_out: int) -> Pictures:
    """The frames that parity is taken on."""
    held = dealt(chosen.frames, hold_out)[1]
    return Pictures(tuple(held), plain_name(chosen.coverage.source)).spread(PrecisionSettings().frames)


def _form(found: Found, settings: QuantiseSettings) -> dict[str, Any]:
    """How the engine was made, for parity.json."""
    return {
        "settings": {**settings.model_dump(), "method": found.method},
        "share_of_multiply_adds": found.quantised.share,
        "frames": found.ranging,
    }


def _parity(
    artifact: Artifact, graph: EngineEntry, building: Path, pictures: Pictures, form: Mapping[str, Any]
) -> EngineParity:
    """Of the int8 graph with the fp32 one; writes the evidence, and the probe of a device's own check."""
    manifest = artifact.manifest
    sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
    with closing(OnnxRuntimeEngine(artifact.path(graph.file))) as exact:
        reference = Reference(exact, moved(sidecar, manifest.provenance.seed), pictures)
        write_probe(exact, pictures, building)
    with closing(OnnxRuntimeEngine(building / INT8_FILE, precision="int8")) as engine:
        comparison = reference.compare(engine, manifest.thresholds["int8"])
        parity = comparison.figures(f"{engine.name}, {reference.title}")
    if comparison.failures:
        raise GateError(
            f"parity of int8 with fp32 on {reference.title} does not hold: {'; '.join(comparison.failures)}. The "
            "artifact stays as it was. Calibrate on more frames, or with a smaller --max-drop and --min-int8, "
            "which leave more in float."
        )
    add_evidence(artifact, building, {"int8": evidence_of(comparison, parity.measured_on, form)})
    return parity


def refuse_int8(artifact: Artifact, *, force: bool) -> None:
    """Refuse an artifact that has an int8 engine, unless `force` is given.

    Raises:
        ConfigError: it has one.
    """
    if not force and any(entry.precision == "int8" for entry in artifact.manifest.engines):
        raise ConfigError(f"{artifact.folder} holds an int8 engine. Give --force to replace it.")


def read_labels(folder: Path, classes: int) -> dict[str, int] | None:
    """Class by file name from the labels.json of a folder of pictures; None without one, or without a head.

    Args:
        classes: of the model; 0 for one without a head.

    Raises:
        CalibrationError: it is no JSON object of whole numbers, or has one that is no class of the model.
    """
    path = folder / LABELS_FILE
    if not classes or not path.is_file():
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
    foreign = next((name for name, label in found.items() if not 0 <= label < classes), None)
    if foreign is not None:
        raise CalibrationError(
            f"{path} gives {foreign} the class {found[foreign]}; the model has the classes 0 to {classes - 1}. "
            "Number them as the model does, or move the file away to compare with the float engine's answers."
        )
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


def _statistics(
    artifact: Artifact, building: Path, images: SourceImages | None, announce: Announce
) -> tuple[SourceStatisticsEntry, ...]:
    """The artifact's without those of an int8 engine that it had, and with what the images give."""
    manifest = artifact.manifest
    kept = manifest.model_copy(
        update={"source_statistics": tuple(of for of in manifest.source_statistics if of.precision != "int8")}
    )
    if images is None:
        return kept.source_statistics
    announce("recording source statistics")
    lacking = [precision for precision in without_statistics(kept) if precision != "int8"]
    with ExitStack() as stack:
        engines = open_each(artifact, lacking, stack)
        engines["int8"] = stack.enter_context(closing(open_twin(building / INT8_FILE, "int8")))
        made = write_source_statistics(
            building,
            engines,
            load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase),
            manifest.preprocess,
            images.source,
            command="calibrate",
            max_images=images.most,
        )
    return beside_others(kept, made)
