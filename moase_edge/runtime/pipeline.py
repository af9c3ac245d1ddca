"""The pipeline: source -> preprocess -> method -> result, emitted, then learned from."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import count, islice
from pathlib import Path
from time import perf_counter_ns, time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.store import Artifact, load_artifact, newest_artifact
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.names import EngineName
from moase_edge.engines.base import Engine
from moase_edge.engines.choose import open_engine
from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames.frame import Frame
from moase_edge.frames.open import open_source
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.frames.source import Source
from moase_edge.metrics.uncertainty import entropy, softmax
from moase_edge.report.files import RotatingJsonl
from moase_edge.runtime.frozen import FrozenMethod
from moase_edge.runtime.method import Following, Method, Prediction, RunCounts, Update
from moase_edge.runtime.open_split import open_split_method, require_torch, what_is_missing
from moase_edge.runtime.record import RunRecord
from moase_edge.runtime.result import Result
from moase_edge.runtime.scheduler import Timing, parse_schedule
from moase_edge.runtime.stages import Stages

logger = logging.getLogger(__name__)


class Pipeline:
    """Answers every frame of a source and learns from it.

        for result in Pipeline.open("artifacts/vit_b16").run("video.mp4"):
            print(result.label, result.confidence)

    Args:
        method: what answers and learns.
        preprocessor: from a frame to the engine's input.
        schedule: which batches are learned from.
        labels: names of the classes.
        classes: K; 0 for a backbone without a head, whose answers are features.
        facts: what a report says of the pipeline: artifact, engine, settings.

    Attributes:
        record: what the latest run remembers; reports are made from it.
        counted: what the method counted during it.
        stopping: whether `stop()` was called during it.
    """

    def __init__(
        self,
        method: Method,
        preprocessor: Preprocessor,
        schedule: Timing,
        *,
        labels: Sequence[str] | None = None,
        classes: int | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.schedule = schedule
        self.facts = dict(facts or {})
        self.record, self.counted = RunRecord(), RunCounts(method)
        self._preprocessor = preprocessor
        self._labels = labels
        self._has_head = classes != 0
        self.stopping = False

    @classmethod
    def open(
        cls,
        artifact: str | Path | None = None,
        *,
        adapt: str = "every",
        engine: EngineName = "auto",
        settings: AdaptSettings | None = None,
        threads: int | None = None,
    ) -> Pipeline:
        """A pipeline over an artifact folder; by default the newest under artifacts/.

        Args:
            adapt: `every`, `every-N`, `on-shift`, `hold` or `off` (see `parse_schedule`); `off` needs no PyTorch.
            engine: what runs the backbone.
            settings: of the learner; by default those of the artifact's MoASE preset.
            threads: of the engine, and of PyTorch (process-wide) where the sidecar sees many tokens; None leaves
                both alone. A sidecar of few tokens always gets one thread of PyTorch's, on which it is fastest.

        Raises:
            ConfigError: an unknown mode, or no artifact, or PyTorch is needed and cannot be imported.
            ArtifactError: the artifact cannot be trusted.
            EngineError: no engine of it runs here.
        """
        schedule = parse_schedule(adapt)
        loaded = load_artifact(Path(artifact) if artifact is not None else newest_artifact())
        if schedule.sidecar:  # told before an engine is opened, which takes seconds
            require_torch()
        with ExitStack() as stack:
            opened = open_engine(loaded, engine, threads=threads)
            stack.callback(opened.close)
            pipeline = cls.over(loaded, opened, adapt=adapt, settings=settings, threads=threads)
            stack.pop_all()
        missing = what_is_missing(loaded, settings or ADAPT_PRESETS[loaded.manifest.moase.preset], schedule)
        if missing:
            logger.warning(missing)
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
    ) -> Pipeline:
        """A pipeline over an artifact that was loaded and an engine that is open; several may share both.

        Args:
            artifact: loaded.
            engine: runs its backbone; closing this pipeline closes it.
            adapt, settings: see `open`.
            threads: of PyTorch, see `open`.

        Raises:
            ConfigError: an unknown mode, an objective without the source statistics that it needs, or PyTorch is
                needed and cannot be imported.
            ArtifactError: the artifact holds no sidecar, or no source statistics, that can be used.
        """
        schedule = parse_schedule(adapt)
        manifest = artifact.manifest
        learning = settings or ADAPT_PRESETS[manifest.moase.preset]
        if schedule.sidecar:
            require_torch()
        return cls(
            open_split_method(artifact, engine, learning, schedule, threads=threads)
            if schedule.sidecar
            else FrozenMethod(engine),
            Preprocessor(manifest.preprocess),
            schedule,
            labels=manifest.labels,
            classes=manifest.sidecar.classes,
            facts=_facts(artifact, engine, learning if schedule.every else None),
        )

    def run(
        self,
        source: str | Path | Source,
        *,
        max_frames: int | None = None,
        batch_size: int = 1,
        journal: RotatingJsonl | None = None,
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

        Raises:
            ConfigError, SourceError: `source` is neither; the source cannot be opened, holds nothing, or was lost.
            EngineError: the engine failed.
        """
        if batch_size < 1 or (max_frames is not None and max_frames < 1):
            raise ConfigError(f"batch size and number of frames must be positive; got {batch_size}, {max_frames}.")
        if not isinstance(source, (str, Path)) and not callable(getattr(source, "frames", None)):
            raise ConfigError(
                f"a run takes a file, folder, pattern or camera as text (such as 'video.mp4' or 'camera:0'), or a "
                f"Source; got {type(source).__name__}. For pictures in memory write a Source: see docs/run.md."
            )
        self.stopping = False
        self.record, self.counted = RunRecord(), RunCounts(self.method)
        if isinstance(self.method, Following):
            self.method.start_run()
        return self._run(source, max_frames, batch_size, journal)

    def stop(self) -> None:
        """End the run after the batch at hand. May be called from a signal handler or another thread."""
        self.stopping = True

    def close(self) -> None:
        """Release the engine."""
        self.method.close()

    def _run(
        self, source: str | Path | Source, max_frames: int | None, batch_size: int, journal: RotatingJsonl | None
    ) -> Generator[Result, None, None]:
        opened = open_source(str(source)) if isinstance(source, (str, Path)) else source
        with closing(opened):
            frames = islice(opened.frames(), max_frames)
            for number in count():
                if self.stopping:
                    return
                stages = Stages()
                began = perf_counter_ns()
                batch, failure = _take(frames, batch_size, stages)
                if batch:
                    yield from self._answer_and_learn(batch, number, began, stages, journal)
                if failure is not None:
                    raise failure
                if not batch:
                    return

    def _answer_and_learn(
        self, batch: list[Frame], number: int, began: int, stages: Stages, journal: RotatingJsonl | None
    ) -> Iterator[Result]:
        with stages.timed("preprocess"):
            images = self._preprocessed(batch)
        prediction = self.method.predict(images, stages)
        results = self._results(batch, prediction, stages)
        self.record.add_results(results)
        update = None
        try:
            for result in results:
                with stages.timed("emit"):
                    yield result
            if self.schedule.due(number):
                update = self._learn(prediction, stages)
        finally:
            stages.add("total", (perf_counter_ns() - began) / 1e6)
            self._remember(results, update, stages, journal)

    def _preprocessed(self, batch: list[Frame]) -> NDArray[np.float32]:
        try:
            return self._preprocessor.batch([frame.image for frame in batch])
        except SourceError as exc:
            names = (f"{frame.index} ({frame.name})" if frame.name else str(frame.index) for frame in batch)
            raise SourceError(f"frame {' or '.join(names)}: {exc}") from exc

    def _learn(self, prediction: Prediction, stages: Stages) -> Update | None:
        began = perf_counter_ns()
        update = self.method.learn(prediction)
        # A learner that failed returns at once: its zeros would pass for fast updates.
        if update is not None:
            stages.add("update", (perf_counter_ns() - began) / 1e6)
        return update

    def _results(self, batch: list[Frame], prediction: Prediction, stages: Stages) -> list[Result]:
        logits = _read_only(prediction.logits)
        frozen = _frozen_rows(prediction)
        probabilities = softmax(logits)
        entropies = entropy(probabilities)
        now, now_s = perf_counter_ns(), time()
        results = []
        for row, frame in enumerate(batch):
            answer = self._answer(logits[row])
            age_ms = (now - frame.captured_ns) / 1e6
            results.append(
                Result(
                    frame=frame,
                    logits=logits[row],
                    frozen_logits=frozen[row],
                    adapted=bool(prediction.adapted[row]),
                    prediction=answer,
                    label=self._labels[answer] if self._labels and answer is not None else None,
                    confidence=None if answer is None else _finite(probabilities[row, answer]),
                    entropy=None if answer is None else _finite(entropies[row]),
                    frozen_prediction=self._answer(frozen[row]),
                    timings_ms=dict(stages.durations_ms),
                    age_ms=age_ms,
                    timestamp_s=now_s - age_ms / 1e3,
                )
            )
        return results

    def _answer(self, logits: NDArray[np.float32] | None) -> int | None:
        return None if logits is None or not self._has_head else _top(logits)

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


def _facts(artifact: Artifact, engine: Engine, learning: AdaptSettings | None) -> dict[str, Any]:
    """What a report says of a pipeline; `learning` is None where nothing is learned."""
    return {
        "artifact": str(artifact.folder),
        "identity": artifact.manifest.identity,
        "engine": engine.name,
        "moase": artifact.manifest.moase.model_dump(mode="json"),
        "learner": None if learning is None else learning.model_dump(mode="json"),
    }


def _take(frames: Iterator[Frame], size: int, stages: Stages) -> tuple[list[Frame], SourceError | None]:
    """Up to `size` frames, and why there are no more, so that what came before a source was lost is answered."""
    batch: list[Frame] = []
    with stages.timed("capture"):
        try:
            for frame in islice(frames, size):
                batch.append(frame)
        except SourceError as exc:
            return batch, exc
    return batch, None


def _read_only(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same memory, which whoever is handed a result cannot change: it is learned from afterwards."""
    view: NDArray[np.float32] = logits.view()
    view.flags.writeable = False
    return view


def _frozen_rows(prediction: Prediction) -> list[NDArray[np.float32] | None]:
    """The frozen answer to each frame, None where it is not known."""
    if prediction.frozen_logits is None:
        return [None] * len(prediction.logits)
    rows = zip(_read_only(prediction.frozen_logits), prediction.frozen_known, strict=True)
    return [logits if known else None for logits, known in rows]


def _top(logits: NDArray[np.float32]) -> int | None:
    """Index of the largest finite logit, None where there is none."""
    finite = np.isfinite(logits)
    return int(np.argmax(np.where(finite, logits, -np.inf))) if finite.any() else None


def _finite(value: float) -> float | None:
    """A plain number, None where it is none: beside an infinite logit there is no probability."""
    return float(value) if math.isfinite(value) else None
