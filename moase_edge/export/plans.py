"""The plans of an artifact: built from its graphs, or taken from the cache, and named for what they fit."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from moase_edge.artifact.cache import Cache, cache_folder
from moase_edge.artifact.manifest import EngineEntry
from moase_edge.config.plan import PlanSettings
from moase_edge.errors import ExportError
from moase_edge.export.plan_builder import RECIPE, build_plan
from moase_edge.export.plan_targets import PlanBuild

_PLAN, _TIMINGS = "plan", "timings"

logger = logging.getLogger(__name__)


def build_plans(
    folder: Path,
    graphs: Sequence[EngineEntry],
    builds: Sequence[PlanBuild],
    settings: PlanSettings,
    *,
    announce: Callable[[str], None],
    source: Path | None = None,
    needed: int | None = None,
    left_out: dict[str, str] | None = None,
    cache: Cache | None = None,
) -> tuple[EngineEntry, ...]:
    """Write a plan of each graph for each build into an artifact's folder, and list them for the manifest.

    Args:
        folder: where the plans are written.
        graphs: the artifact's ONNX graphs; a plan has the precision of its graph, and its parity.
        builds: flavours and targets (`plan_builds`).
        settings: how they are built.
        announce: is told which plan comes now.
        source: folder of the graphs that `folder` lacks.
        needed: of a build, so many plans at least; others that cannot be built are left out with a warning. None
            for all.
        left_out: is given the reason for each of these, by its file name.
        cache: of earlier builds; None for the user's own.

    Raises:
        ExportError: a graph that cannot be built; names the node.
        OSError: a plan cannot be written.
    """
    kept = Cache(cache_folder()) if cache is None else cache
    entries: list[EngineEntry] = []
    for build in builds:
        made, refused = _built(folder, graphs, build, settings, announce, source, kept, strict=needed is None)
        if refused and len(made) < (needed or 0):
            raise next(iter(refused.values()))
        _tell(refused, left_out)
        entries += made
    return tuple(entries)


def _tell(refused: Mapping[str, ExportError], left_out: dict[str, str] | None) -> None:
    for name, exc in refused.items():
        logger.warning("a plan is left out: %s", exc)
        if left_out is not None:
            left_out[name] = str(exc)


def _built(
    folder: Path,
    graphs: Sequence[EngineEntry],
    build: PlanBuild,
    settings: PlanSettings,
    announce: Callable[[str], None],
    source: Path | None,
    cache: Cache,
    *,
    strict: bool,
) -> tuple[list[EngineEntry], dict[str, ExportError]]:
    """The plans that one build gives, and by file name why it gives no others; if `strict`, that is raised."""
    made, refused = list[EngineEntry](), dict[str, ExportError]()
    for graph in graphs:
        entry = plan_entry(graph, build, settings)
        announce(f"building the plan {entry.file}")
        here = folder / graph.file
        content = here if source is None or here.exists() else source / graph.file
        try:
            plan = _cached_plan(content.read_bytes(), build, settings, cache)
        except ExportError as exc:
            if strict:
                raise
            refused[entry.file] = exc
            continue
        (folder / entry.file).write_bytes(plan)
        made.append(entry)
    return made, refused


def plan_entry(graph: EngineEntry, build: PlanBuild, settings: PlanSettings) -> EngineEntry:
    """What the manifest says of a graph's plan."""
    least, _usual, most = settings.batch
    return EngineEntry(
        file=plan_name(graph, build, settings),
        runtime=build.flavour.name,
        precision=graph.precision,
        source=graph.file,
        batch=(least, most),
        built_for=build.built_for(settings),
        parity=graph.parity,
    )


def plan_name(graph: EngineEntry, build: PlanBuild, settings: PlanSettings) -> str:
    """`backbone.fp16.sm86.rtx1.7.engine`; with what is not the usual: `b4`, `b1-8`, `b1-4-8`, `tf32`, the GPU."""
    least, usual, most = settings.batch
    sizes = dict.fromkeys((least, most) if usual == least else settings.batch)
    batch = [] if most == 1 else ["b" + "-".join(map(str, sizes))]
    tf32 = ["tf32"] if settings.tf32 else []
    gpu = [] if build.device is None else [re.sub(r"[^a-z0-9]+", "-", build.device.gpu.lower()).strip("-")]
    stem = graph.file.removesuffix(".onnx")
    # A graph of another precision than float32 is named by it, or by more, where there are several of one.
    named = stem if "." in stem else f"{stem}.{graph.precision}"
    return ".".join([named, *batch, *tf32, build.target, *gpu, build.flavour.tag, "engine"])


def _cached_plan(graph: bytes, build: PlanBuild, settings: PlanSettings, cache: Cache) -> bytes:
    """From the cache where exactly this was built before; else built, and kept."""
    maker = _maker(build)
    facts = {
        **maker,
        "recipe": RECIPE,
        "graph": hashlib.sha256(graph).hexdigest(),
        "target": build.target,
        "settings": settings.model_dump(mode="json"),
    }
    if (found := cache.load(_PLAN, facts)) is not None:
        return found
    # A target that is the GPU at hand needs no naming, and TensorRT proper cannot be told any.
    target = build.target if build.device is None else None
    built = build_plan(graph, build.flavour, settings, target=target, timings=cache.load(_TIMINGS, maker))
    cache.store(_PLAN, facts, built.plan)
    if built.timings is not None:
        cache.store(_TIMINGS, maker, built.timings)
    return built.plan


def _maker(build: PlanBuild) -> dict[str, object]:
    """What builds, and on which GPU with which driver."""
    device = build.device
    return {
        "flavour": build.flavour.name,
        "version": build.flavour.version,
        "device": None if device is None else [device.gpu, device.target, dict(device.versions)],
    }
