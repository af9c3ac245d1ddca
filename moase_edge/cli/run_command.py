"""What `run` does once its arguments are known."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

from moase_edge.cli.run_view import RunView
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.base import load_settings
from moase_edge.config.names import EngineName
from moase_edge.errors import ConfigError
from moase_edge.frames.open import open_source
from moase_edge.runtime.emit import JsonlEmitter, open_emitter
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.session import prepare_report_folder, run_and_report


@dataclass(frozen=True, slots=True)
class RunArguments:
    """The options of `moase-edge run`, as given."""

    camera: int | None
    source: str | None
    artifact: Path | None
    engine: EngineName
    adapt: str
    settings: Path | None
    max_frames: int | None
    threads: int | None
    emit: str | None
    report: Path | None
    force: bool


def execute(given: RunArguments) -> None:
    """Open everything, run, report; ends the process with 130 or 143 if it was interrupted."""
    folder = given.report or Path("reports") / f"{datetime.now():%Y%m%d-%H%M%S}"
    with ExitStack() as stack:
        pipeline = Pipeline.open(
            given.artifact,
            adapt=given.adapt,
            engine=given.engine,
            settings=read_settings(given.settings) if given.settings else None,
            threads=given.threads,
        )
        stack.callback(pipeline.close)
        source = stack.enter_context(open_source(source_uri(given)))
        emitter = stack.enter_context(closing(open_emitter(given.emit))) if given.emit else None
        prepare_report_folder(folder, force=given.force)
        view = stack.enter_context(RunView(pipeline, source, to_stderr=emitter is not None))
        interrupted = stack.enter_context(stop_on_signals(pipeline))
        run_and_report(
            pipeline,
            source,
            folder,
            facts=pipeline.facts,
            on_result=_listener(view, emitter),
            max_frames=given.max_frames,
        )
    view.finish(folder)
    if interrupted:
        sys.exit(128 + interrupted[0])


def source_uri(given: RunArguments) -> str:
    """The one source that was named.

    Raises:
        ConfigError: none or both.
    """
    if (given.camera is None) == (given.source is None):
        raise ConfigError("name one source: --camera N, or --source with a video, a folder or a glob.")
    return f"camera:{given.camera}" if given.camera is not None else str(given.source)


def read_settings(path: Path) -> AdaptSettings:
    """Settings of the learner from a JSON file; what it leaves out is as in the `edge` preset.

    Raises:
        ConfigError: unreadable, or every fault in it.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot read settings from {path}: {exc}. Expected a JSON object.") from exc
    if not isinstance(values, dict):
        raise ConfigError(f'{path} holds no JSON object. Expected settings such as {{"lr": 0.0001}}.')
    return load_settings(AdaptSettings, {**ADAPT_PRESETS["edge"].model_dump(), **values})


def _listener(view: RunView, emitter: JsonlEmitter | None) -> Callable[[Result], None]:
    def listen(result: Result) -> None:
        if emitter is not None:
            emitter.write(result)
        view.show(result)

    return listen


@contextmanager
def stop_on_signals(pipeline: Pipeline) -> Iterator[list[int]]:
    """SIGINT and SIGTERM end the run after the frame at hand; a second one ends it at once.

    Yields:
        The signals that came, in order.
    """
    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        pipeline.stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
