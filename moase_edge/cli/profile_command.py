"""What `profile` does once its arguments are known."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import typer
from rich.console import Console

from moase_edge.artifact.files import refuse_existing
from moase_edge.artifact.store import Artifact, load_artifact, newest_artifact
from moase_edge.cli.profile import ProfileArguments
from moase_edge.engines.base import Engine, precision_of
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.open import open_engine
from moase_edge.errors import ConfigError, GateError, MoaseEdgeError
from moase_edge.frames.open import open_source
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.frames.repeated import RepeatedSource
from moase_edge.frames.source import Source
from moase_edge.frames.synthetic import SyntheticSource
from moase_edge.metrics.gate import broken_gates, parse_gate
from moase_edge.report.plain import plain_json
from moase_edge.report.tables import to_rich
from moase_edge.runtime.decide import decide_precision
from moase_edge.runtime.hints import clock_hint, enqueue_hint, thread_hint
from moase_edge.runtime.machine import describe_machine
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.profile import MODES, Mode, Profile
from moase_edge.runtime.profile import profile as run_profile
from moase_edge.runtime.profile_figures import BUSY, figures
from moase_edge.runtime.profile_report import SUMMARY, latency_table, summary_of, write_profile
from moase_edge.runtime.scheduler import parse_schedule

logger = logging.getLogger(__name__)


def execute(given: ProfileArguments) -> None:
    """Open, time, show, write; then judge the gates.

    Raises:
        ConfigError: options that do not fit, before a model is loaded.
        GateError: a gate is broken; everything is shown and written first.
    """
    gates = [parse_gate(text) for text in given.gate or ()]
    _refuse_useless_work(given)
    artifact = load_artifact(given.artifact or newest_artifact())
    if given.engine == "auto" and given.precision is None:
        artifact = decide_precision(artifact, threads=given.threads)
    with ExitStack() as stack:
        opened = open_engine(artifact, given.engine, threads=given.threads, precision=given.precision)
        engine = stack.enter_context(closing(opened))
        source = stack.enter_context(open_profile_source(given))
        profile = run_profile(
            _pipelines(given, artifact, engine),
            source,
            window=given.window,
            warm_up=given.warm_up,
            max_frames=given.max_frames,
        )
        hints = _hints(given, artifact, engine, profile)
        summary = summary_of(profile, _facts(given, artifact, engine, source), source.counts.dropped, hints)
    _show(given, profile, summary, hints)
    if given.out is not None:
        write_profile(given.out, profile, summary)
    broken = broken_gates(gates, figures(profile))
    if broken:
        raise GateError(f"the gate does not hold: {'; '.join(broken)}.")


def _refuse_useless_work(given: ProfileArguments) -> None:
    if given.camera is not None and given.source is not None:
        raise ConfigError("name one source: --camera N, or --source; without either, frames are synthetic.")
    if not parse_schedule(given.adapt).sidecar:
        raise ConfigError(
            "--adapt off is the frozen model, which is timed beside in any case. Take every or hold."
        )
    if given.out is not None:
        refuse_existing(given.out, force=given.force, marker=SUMMARY)


def open_profile_source(given: ProfileArguments) -> Source:
    """What was named, from its start again where a file ends; synthetic frames where nothing was."""
    uri = given.source if given.camera is None else f"camera:{given.camera}"
    if uri is None:
        return SyntheticSource()
    source = open_source(uri)
    if source.live:
        return source
    source.close()
    return RepeatedSource(partial(open_source, uri))


def _pipelines(given: ProfileArguments, artifact: Artifact, engine: Engine) -> dict[Mode, Pipeline]:
    """Both over one engine, so that they differ in nothing else."""
    return {
        "frozen": Pipeline.over(artifact, engine, adapt="off"),
        "adapting": Pipeline.over(artifact, engine, adapt=given.adapt, threads=given.threads),
    }


def _hints(given: ProfileArguments, artifact: Artifact, engine: Engine, profile: Profile) -> list[str]:
    host, device = (figures(profile, on_device=on_device)["adapting"] for on_device in (False, True))
    medians = ({stage: of["p50"] for stage, of in stages.items()} for stages in (host, device))
    found = (
        _thread_hint(given, artifact, engine),
        clock_hint(),
        enqueue_hint(*medians),
    )
    return [hint for hint in found if hint is not None]


def _thread_hint(given: ProfileArguments, artifact: Artifact, engine: Engine) -> str | None:
    """Only of ONNX Runtime on the processor: no other engine has threads to choose."""
    if not isinstance(engine, OnnxRuntimeEngine) or engine.provider != "cpu":
        return None
    spec, precision = artifact.manifest.preprocess, precision_of(engine)
    picture = next(SyntheticSource(width=spec.width, height=spec.height).frames()).image

    def opened(count: int | None) -> Engine:
        return open_engine(artifact, "ort", threads=count, precision=precision)

    try:
        return thread_hint(opened, Preprocessor(spec).batch([picture]), given.threads)
    except MoaseEdgeError as exc:  # a hint is worth no failure
        logger.info("no hint of threads: %s", exc)
        return None


def _facts(given: ProfileArguments, artifact: Artifact, engine: Engine, source: Source) -> dict[str, Any]:
    return {
        "artifact": str(artifact.folder),
        "identity": artifact.manifest.identity,
        "engine": engine.name,
        "source": source.name,
        "adapt": given.adapt,
        "window": given.window,
        "machine": describe_machine(),
    }


def _show(given: ProfileArguments, profile: Profile, summary: dict[str, Any], hints: Sequence[str]) -> None:
    if given.json:
        typer.echo(json.dumps(plain_json(summary), indent=1))
        return
    console = Console()
    host, device = figures(profile), figures(profile, on_device=True)
    for mode in MODES:
        if BUSY in host[mode]:
            console.print(to_rich(latency_table(mode, host, device)))
    for line in _lines(profile, summary):
        console.print(line, highlight=False, markup=False)
    for hint in hints:
        console.print(f"hint: {hint}", highlight=False, markup=False)


def _lines(profile: Profile, summary: dict[str, Any]) -> list[str]:
    steady = "steady" if profile.steady else "NOT STEADY: take the figures with care"
    counted = ", ".join(f"{len(profile.rows(mode))} {mode}" for mode in MODES)
    lines = [
        f"{summary['engine']}, {summary['source']}: {counted} after {summary['warm_up_frames']} of warm-up.",
        f"It ended because {profile.ended}: {steady}.",
    ]
    ratio = summary["adapting_over_frozen"]
    if ratio is not None:
        lines.append(f"Adapting keeps the loop {ratio:.2f} times as long as the frozen model (medians of busy).")
    memory, growth = summary["memory_mib"], summary["memory_mib_per_10000_frames"]
    if memory is not None:
        lines.append(
            f"Memory: {memory:.0f} MiB, {growth:+.1f} MiB in 10,000 frames. Dropped: {summary['dropped']}."
        )
    return lines
