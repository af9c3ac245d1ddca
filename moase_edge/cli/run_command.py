"""What `run` does once its arguments are known."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from moase_edge.artifact.store import DEFAULT_ROOT, read_manifest, usable_artifacts
from moase_edge.cli.interrupt import ended_by_a_second_signal, ended_by_signals, handling_signals
from moase_edge.cli.run import INTERRUPTED, RunArguments
from moase_edge.cli.run_state import open_snapshots, refuse_useless_state
from moase_edge.cli.run_view import RunView
from moase_edge.cli.run_web import open_web, serving
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.base import Settings, load_settings
from moase_edge.config.names import Preset
from moase_edge.config.source import SourceSettings
from moase_edge.errors import ConfigError
from moase_edge.frames.open import open_source
from moase_edge.frames.redact import redact
from moase_edge.frames.source import Source
from moase_edge.runtime.emit import JsonlEmitter, emit_target, open_emitter
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.run_report import RunReport
from moase_edge.runtime.scheduler import parse_schedule
from moase_edge.runtime.session import (
    new_report_folder,
    prepare_report_folder,
    refuse_report_folder,
    run_and_report,
)
from moase_edge.runtime.snapshots import Position, Snapshots
from moase_edge.runtime.web.address import WebAddress
from moase_edge.runtime.web.live import Live

REPORTS = Path("reports")


def execute(given: RunArguments) -> None:
    """Open everything, run, report; ends the process with 128 + the signal's number if it was interrupted."""
    uri = source_uri(given)
    refuse_useless_work(given)
    with ExitStack() as stack:
        with ended_by_signals(INTERRUPTED):
            address = open_web(given.web, stack)
            pipeline = stack.enter_context(closing(open_pipeline(given)))
            source = stack.enter_context(open_source(uri, pace=given.pace, settings=source_settings(given)))
            snapshots, start = open_snapshots(given.state, pipeline, source, stack)
        interrupted = stack.enter_context(stop_on_signals(pipeline))
        folder = report_folder(given)
        emitter = stack.enter_context(closing(open_emitter(given.emit))) if given.emit else None
        run_with_view(
            given,
            pipeline,
            source,
            folder,
            emitter,
            interrupted,
            snapshots=snapshots,
            start=start,
            address=address,
        )
    if interrupted:
        sys.exit(128 + interrupted[0])


def refuse_further_words(words: Sequence[str], source: str | None) -> None:
    """Raise for words that belong to no option: mostly, the shell has expanded a pattern that was not quoted.

    Raises:
        ConfigError: there are such words.
    """
    if not words:
        return
    paths = [Path(word) for word in (source or "", *words)]
    if source and len({path.parent for path in paths}) == 1:
        suffixes = {path.suffix for path in paths}
        pattern = paths[0].parent / (f"*{paths[0].suffix}" if len(suffixes) == 1 else "*")
        raise ConfigError(
            f"--source takes one name, and {len(words)} more came after it: the shell expands a pattern without "
            f"quotes. Quote it: --source {shlex.quote(str(pattern))}."
        )
    raise ConfigError(
        f"{redact(words[0])!r} belongs to no option. Name the input with --source; `moase-edge run --help` lists "
        "the options."
    )


def frame_budget_ms(budget_ms: float | None, fps: float | None) -> float | None:
    """The one budget that was named, in milliseconds.

    Raises:
        ConfigError: both, or one that is not positive.
    """
    if budget_ms is not None and fps is not None:
        raise ConfigError(f"--budget-ms {budget_ms:g} and --fps {fps:g} say the same thing. Name one.")
    for option, value in (("--budget-ms", budget_ms), ("--fps", fps)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{option} must be a positive number; got {value:g}.")
    return 1e3 / fps if fps is not None else budget_ms


def source_uri(given: RunArguments) -> str:
    """The one source that was named.

    Raises:
        ConfigError: none or both.
    """
    if (given.camera is None) == (given.source is None):
        raise ConfigError("name one source: --camera N, or --source with a video, a folder, a glob or a stream.")
    return f"camera:{given.camera}" if given.camera is not None else str(given.source)


def source_settings(given: RunArguments) -> SourceSettings:
    """How a live source is waited for."""
    return load_settings(SourceSettings, {"give_up_after_s": given.give_up_after_s})


def refuse_useless_work(given: RunArguments) -> None:
    """Raise at once what would otherwise come up after the seconds that loading a model takes.

    Raises:
        ConfigError: an unknown mode or form of --emit, settings that nothing would use, an output that exists.
    """
    schedule = parse_schedule(given.adapt)
    refuse_useless_state(given.state, given.adapt)
    # With --resume they say with what the state was learned.
    if given.settings is not None and schedule.every is None and not given.state.resume:
        raise ConfigError(
            f"--settings are the learner's, and --adapt {given.adapt} learns nothing. Leave one out."
        )
    if frame_budget_ms(given.budget_ms, given.fps) is not None and schedule.every is None:
        raise ConfigError(
            f"a budget is for updates, and --adapt {given.adapt} makes none. Leave --budget-ms and --fps out."
        )
    if given.emit is not None:
        emit_target(given.emit)
    if given.report is not None:
        refuse_report_folder(given.report, force=given.force)


def open_pipeline(given: RunArguments) -> Pipeline:
    """The pipeline over the artifact that was named, or the newest."""
    artifact, choice = (given.artifact, None) if given.artifact else _newest()
    settings = None
    if given.settings is not None:
        settings = read_settings(given.settings, read_manifest(artifact).moase.preset)
    pipeline = Pipeline.open(
        artifact,
        adapt=given.adapt,
        engine=given.engine,
        precision=given.precision,
        settings=settings,
        threads=given.threads,
        budget_ms=frame_budget_ms(given.budget_ms, given.fps),
    )
    if choice:
        pipeline.facts["artifact_choice"] = choice
    return pipeline


def _newest() -> tuple[Path, str | None]:
    """The newest artifact, and in words among how many, where there are several."""
    found = usable_artifacts()
    return found[0], f"the newest of {len(found)} under {DEFAULT_ROOT}/" if len(found) > 1 else None


def read_settings(path: Path, preset: Preset) -> AdaptSettings:
    """Settings of the learner from a JSON file; what it leaves out is as in the artifact's preset.

    Raises:
        ConfigError: unreadable, or every fault in it.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigError(f"cannot read settings from {path}: {exc}. Expected a JSON object.") from exc
    if not isinstance(values, dict):
        raise ConfigError(f'{path} holds no JSON object. Expected settings such as {{"lr": 0.0001}}.')
    return load_settings(AdaptSettings, _filled_in(values, ADAPT_PRESETS[preset]))


def _filled_in(values: dict[str, Any], preset: Settings) -> dict[str, Any]:
    """Values, those of the parts too, and the preset's where there are none."""
    filled = {**preset.model_dump(), **values}
    parts = {name: part for name, part in preset if isinstance(part, Settings)}
    return {
        name: _filled_in(value, parts[name]) if name in parts and isinstance(value, dict) else value
        for name, value in filled.items()
    }


def report_folder(given: RunArguments) -> Path:
    """The folder that was named, or a new one, ready for the report."""
    if given.report is None:
        return new_report_folder(REPORTS)
    prepare_report_folder(given.report, force=given.force)
    return given.report


def run_with_view(
    given: RunArguments,
    pipeline: Pipeline,
    source: Source,
    folder: Path,
    emitter: JsonlEmitter | None,
    interrupted: list[int],
    *,
    snapshots: Snapshots | None = None,
    start: Position | None = None,
    address: WebAddress | None = None,
) -> None:
    """Run to the report, and show both; the figures of a run that failed are shown too."""
    left = None if source.length is None else max(source.length - (start.frames if start else 0), 0)
    lengths = [length for length in (left, given.max_frames) if length is not None]
    to_stdout = emitter is not None and emitter.to_stdout
    view = RunView(
        pipeline,
        source,
        frames=min(lengths, default=None),
        answers_on_stdout=to_stdout,
        url=None if address is None else address.url,
    )
    with serving(address, pipeline, source) as live, view:
        run_and_report(
            pipeline,
            source,
            folder,
            facts=pipeline.facts,
            on_result=_listener(pipeline, view, emitter, interrupted, live),
            on_end=_at_end(folder, view, live),
            max_frames=given.max_frames,
            snapshots=snapshots,
            start=start,
        )


def _listener(
    pipeline: Pipeline,
    view: RunView,
    emitter: JsonlEmitter | None,
    interrupted: list[int],
    live: Live | None = None,
) -> Callable[[Result], None]:
    def listen(result: Result) -> None:
        if live is not None:
            live.answered(result)
        if emitter is not None:
            emitter.write(result)
        view.show(result)
        if interrupted:  # a signal from before the run began has not stopped it
            pipeline.stop()

    return listen


def _at_end(folder: Path, view: RunView, live: Live | None) -> Callable[[RunReport], None]:
    def end(report: RunReport) -> None:
        if live is not None:
            live.ended = report.ended
        view.finish(folder, report)

    return end


@contextmanager
def stop_on_signals(pipeline: Pipeline) -> Iterator[list[int]]:
    """SIGINT, SIGTERM and SIGHUP (the terminal was closed) end the run after the frame at hand.

    The first is answered on standard error, because a report takes its time; a second one ends the process at
    once. One that is ignored, as under nohup, stays ignored.

    Yields:
        The signals that came, in order.
    """
    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            return
        pipeline.stop()
        with suppress(RuntimeError, OSError):  # the signal came in the midst of another line, or nobody reads
            print("interrupted; writing the report (again to stop without it)", file=sys.stderr, flush=True)

    with ended_by_a_second_signal(), handling_signals(handle):
        yield came
