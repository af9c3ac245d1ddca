"""The pipeline: source -> preprocess -> method -> result, emitted, then learned from."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count, islice
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.adapt.state_file import Binding, binding_of
from moase_edge.artifact.store import Artifact, load_artifact, newest_artifact
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.names import EngineName
from moase_edge.config.precision import GraphPrecision
from moase_edge.engines.base import Engine, precision_of
from moase_edge.engines.open import open_chosen
from moase_edge.engines.ranges import count_anew, counts_outside, new_frames, watched
from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames.frame import Frame
from moase_edge.frames.open import open_source
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.frames.source import Source
from moase_edge.report.files import RotatingJsonl
from moase_edge.runtime.batches import take
from moase_edge.runtime.budget import UpdateBudget
from moase_edge.runtime.controls import Controls
from moase_edge.runtime.decide import decide_precision
from moase_edge.runtime.facts import facts_of
from moase_edge.runtime.method import Deferring, Following, Method, Prediction, RunCounts, Update
from moase_edge.runtime.open_split import open_method, preset_of, require_torch, warn_of_what_is_missing
from moase_edge.runtime.record import RunRecord
from moase_edge.runtime.result import Result
from moase_edge.runtime.results import results_of
from moase_edge.runtime.scheduler import Timing, asked_whether_frames_wait, parse_schedule
from moase_edge.runtime.snapshots import Position
from moase_edge.runtime.stages import Stages

OnBatch = Callable[[Sequence[Result], Stages, Update | None], None]


class Pipeline:
    """Answers every frame of a source and learns from it.

        for result in Pipeline.open("artifacts/vit_b16").run("video.mp4"):
            print(result.label, result.confidence)

    Args:
        method: what answers and learns.
        preprocessor: from a frame to the engine's input.
        schedule: which batches are learned from.
        budget: what an update may cost; None sets no limit.
        labels: names of the classes.
        classes: K; 0 for a backbone without a head, whose answers are features.
        facts: what a report says of the pipeline: artifact, engine, settings.
        binding: what the learned state is bound to.

    Attributes:
        controls: hold, resume, reset, roll back and snapshot while a run goes on.
        position: where the latest run stands; None amid a batch.
        record: what the latest run remembers; reports are made from it.
        counted: what the method counted during it.
        stopping: whether `stop()` was called during it.
        on_batch: is told of each batch once it was learned from, with what its stages took and its update gave;
            None tells nobody.
    """

    def __init__(
        self,
        method: Method,
        preprocessor: Preprocessor,
        schedule: Timing,
        *,
        budget: UpdateBudget | None = None,
        labels: Sequence[str] | None = None,
        classes: int | None = None,
        facts: Mapping[str, Any] | None = None,
        binding: Binding | None = None,
    ) -> None:
        self.method, self.binding, self.controls = method, binding, Controls(method)
        self.position: Position | None = Position()
        self.schedule = schedule
        self.budget = budget
        self.facts = dict(facts or {})
        self.record, self.counted = RunRecord(), RunCounts(method)
        self._preprocessor = preprocessor
        self.labels = tuple(labels or ())
        self._has_head = classes != 0
        self.on_batch: OnBatch | None = None
        self._frame_waits: Callable[[], bool] = lambda: True
        self.stopping = False
        self._source: Source | None = None
        self._watched: Engine | None = None

    @classmethod
    def open(
        cls,
        artifact: str | Path | None = None,
        *,
        adapt: str = "every",
        engine: EngineName = "auto",
        precision: GraphPrecision | None = None,
        settings: AdaptSettings | None = None,
        threads: int | None = None,
        budget_ms: float | None = None,
    ) -> Pipeline:
        """A pipeline over an artifact folder; by default the newest under artifacts/.

        Args:
            adapt: `every`, `every-N`, `on-shift`, `idle`, `hold`, or `off` without PyTorch (see `parse_schedule`).
            engine, precision: what runs the backbone; no engine of another precision is taken.
            settings: of the learner; by default those of the artifact's MoASE preset.
            threads: of the engine, and of PyTorch (process-wide) where the sidecar sees many tokens, else one.
            budget_ms: from the capture of a frame until the next one; an update that would not fit is put off
                (see `UpdateBudget`). None sets no limit.

        Raises:
            ConfigError: an unknown mode, or no artifact, or PyTorch is needed and cannot be imported.
            ArtifactError: the artifact cannot be trusted.
            EngineError: no engine of it runs here.
        """
        schedule = parse_schedule(adapt)
        loaded = load_artifact(Path(artifact) if artifact is not None else newest_artifact())
        if schedule.sidecar:  # told before an engine is opened, which takes seconds
            require_torch()
        if engine == "auto" and precision is None:
            loaded = decide_precision(loaded, threads=threads)
        opened = open_chosen(loaded, engine, threads=threads, precision=precision)
        with _closed_on_failure(opened.engine):
            pipeline = cls.over(
                loaded, opened.engine, adapt=adapt, settings=settings, threads=threads, budget_ms=budget_ms
            )
        pipeline.facts["engine_choice"] = opened.reason
        warn_of_what_is_missing(loaded, settings, schedule, precision_of(opened.engine))
        return pipeline

    @classmethod
    def over(
        cls,
        artifact: Artifact,
        engine: Engine,
        *,
        adapt: str = "every",
        settings: AdaptSettings | None = None,
        threads: int | None = None,
        budget_ms: float | None = None,
    ) -> Pipeline:
        """A pipeline over an artifact that was loaded and an engine that is open; several may share both.

        Args:
            artifact: loaded.
            engine: runs its backbone; closing this pipeline closes it.
            adapt, settings, budget_ms: see `open`.
            threads: of PyTorch, see `open`.

        Raises:
            ConfigError: an unknown mode, an objective without the source statistics that it needs, or PyTorch is
                needed and cannot be imported.
            ArtifactError: the artifact holds no sidecar, or no source statistics, that can be used.
        """
        schedule = parse_schedule(adapt)
        manifest = artifact.manifest
        engine = watched(artifact, engine)
        learning = settings or preset_of(artifact)
        pipeline = cls(
            open_method(artifact, engine, learning, schedule, threads=threads),
            Preprocessor(manifest.preprocess),
            schedule,
            budget=None if budget_ms is None else UpdateBudget(budget_ms),
            labels=manifest.labels,
            classes=manifest.sidecar.classes,
            facts=facts_of(artifact, engine, learning if schedule.every else None, budget_ms),
            binding=binding_of(artifact, learning, precision_of(engine)),
        )
        pipeline._watched = engine
        return pipeline

    def outside_the_ranges(self) -> dict[str, int]:
        """Frames of the latest run whose values left what an int8 engine was calibrated for, by tensor."""
        return counts_outside(self._watched)

    def run(
        self,
        source: str | Path | Source,
        *,
        max_frames: int | None = None,
        batch_size: int = 1,
        journal: RotatingJsonl | None = None,
        start: Position | None = None,
    ) -> Generator[Result, None, None]:
        """Answer the frames of a source, one result a frame.

        A result is yielded before anything is learned from its frame; the update runs when the caller asks for the
        next one. Closing the iterator, `stop()`, or the end of the source ends the run; the source is closed then.
        A second run goes on with what the first one learned, and counts from 0.

        Args:
            source: a path or URI (see `open_source`), or a source.
            max_frames: stop after so many.
            batch_size: frames that are answered and learned from together.
            journal: gets a line per frame, after it was learned from.
            start: where to go on in the source; frames before it are passed over. None: at its beginning.

        Raises:
            ConfigError, SourceError: `source` is neither; the source cannot be opened, holds nothing, or was lost.
            EngineError: the engine failed.
        """
        _refuse_no_run(source, max_frames, batch_size)
        self.stopping = False
        self.record, self.counted = RunRecord(), RunCounts(self.method)
        self.position = start or Position()
        count_anew(self._watched)
        if isinstance(self.method, Following) and self.position == Position():
            self.method.start_run()
        return self._run(source, self.position, max_frames, batch_size, journal)

    def stop(self) -> None:
        """End the run after the batch at hand. May be called from a signal handler or another thread."""
        self.stopping = True
        stop = getattr(self._source, "stop", None)  # of one that may be waiting for a camera that is gone
        if stop is not None:
            stop()

    def close(self) -> None:
        """Release the engine."""
        self.method.close()

    def _run(
        self,
        source: str | Path | Source,
        start: Position,
        max_frames: int | None,
        batch_size: int,
        journal: RotatingJsonl | None,
    ) -> Generator[Result, None, None]:
        opened = open_source(str(source)) if isinstance(source, (str, Path)) else source
        self._source = opened
        with closing(opened):
            self._frame_waits = asked_whether_frames_wait(self.schedule, opened)
            frames = islice(self._from(opened.frames(), start.frames), max_frames)
            for number in count(start.batches):
                if self.stopping:
                    return
                stages = Stages()
                began = perf_counter_ns()
                batch, failure = take(frames, batch_size, stages)
                if batch:
                    self.position = None
                    yield from self._answer_and_learn(batch, number, began, stages, journal)
                    self.position = Position(number + 1, batch[-1].index + 1)
                    self.controls.between(self.position, len(batch))
                if failure is not None:
                    raise failure
                if not batch:
                    return

    def _from(self, frames: Iterator[Frame], first: int) -> Iterator[Frame]:
        """The frames from this index on; those before it are read at once, and no stage's time."""
        if first > 0:
            next((frame for frame in frames if frame.index + 1 >= first or self.stopping), None)
        return frames

    def _answer_and_learn(
        self, batch: list[Frame], number: int, began: int, stages: Stages, journal: RotatingJsonl | None
    ) -> Iterator[Result]:
        with stages.timed("preprocess"):
            images = self._preprocessed(batch)
        new_frames(self._watched)
        prediction = self.method.predict(images, stages)
        results = results_of(batch, prediction, stages, labels=self.labels, has_head=self._has_head)
        self.record.add_results(results)
        update = None
        try:
            for result in results:
                with stages.timed("emit"):
                    yield result
            if self.schedule.due(number) and not self.controls.held:
                update = self._learn_or_defer(prediction, stages, batch[-1])
        finally:
            stages.ran("total", began, perf_counter_ns())
            self._remember(results, update, stages, journal)
            if self.on_batch is not None:
                self.on_batch(results, stages, update)

    def _preprocessed(self, batch: list[Frame]) -> NDArray[np.float32]:
        try:
            return self._preprocessor.batch([frame.image for frame in batch])
        except SourceError as exc:
            names = (f"{frame.index} ({frame.name})" if frame.name else str(frame.index) for frame in batch)
            raise SourceError(f"frame {' or '.join(names)}: {exc}") from exc

    def _learn_or_defer(self, prediction: Prediction, stages: Stages, newest: Frame) -> Update | None:
        spent_ms = (perf_counter_ns() - newest.captured_ns) / 1e6
        fits = self.budget is None or self.budget.allows(spent_ms)
        if fits and not (self.schedule.idle and self._frame_waits()):
            return self._learn(prediction, stages)
        self.record.counts["updates_deferred"] += 1
        if isinstance(self.method, Deferring):
            self.method.defer(prediction)
        return None

    def _learn(self, prediction: Prediction, stages: Stages) -> Update | None:
        began = perf_counter_ns()
        update = self.method.learn(prediction)
        # A learner that failed returns at once: its zeros would pass for fast updates.
        if update is not None:
            ended = perf_counter_ns()
            stages.ran("update", began, ended)
            if self.budget is not None:
                self.budget.took((ended - began) / 1e6)
        return update

    def _remember(
        self, results: list[Result], update: Update | None, stages: Stages, journal: RotatingJsonl | None
    ) -> None:
        last = results[-1].frame.index
        stages.add("age", max(result.age_ms for result in results))
        self.record.add_timings(last, stages.durations_ms)
        if update is not None:
            self.record.add_update(last, update)
        if journal is not None:
            for result in results:
                timings = {"timings_ms": stages.durations_ms, "update": update}
                journal.write({**result.as_record(), **timings})


@contextmanager
def _closed_on_failure(engine: Engine) -> Iterator[None]:
    """Close an engine that the block was to hand on, and could not."""
    with ExitStack() as stack:
        stack.callback(engine.close)
        yield
        stack.pop_all()


def _refuse_no_run(source: object, max_frames: int | None, batch_size: int) -> None:
    if batch_size < 1 or (max_frames is not None and max_frames < 1):
        raise ConfigError(f"batch size and number of frames must be positive; got {batch_size}, {max_frames}.")
    if not isinstance(source, (str, Path)) and not callable(getattr(source, "frames", None)):
        raise ConfigError(
            f"a run takes a file, folder, pattern or camera as text (such as 'video.mp4' or 'camera:0'), or a "
            f"Source; got {type(source).__name__}. For pictures in memory write a Source: see docs/run.md."
        )
