"""Latency of every stage of a frame: the frozen model against the adapting one, interleaved in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import ConfigError
from moase_edge.frames.frame import Frame
from moase_edge.frames.source import Source, SourceCounts
from moase_edge.metrics.steadiness import is_steady, slope
from moase_edge.runtime.frame_times import FrameTimes
from moase_edge.runtime.memory import resident_mib
from moase_edge.runtime.method import Update
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.result import Result
from moase_edge.runtime.stages import Stages

Mode = Literal["frozen", "adapting"]
MODES: tuple[Mode, ...] = ("frozen", "adapting")
STEADY_WITHIN = 0.05


@dataclass(slots=True)
class Profile:
    """What was timed.

    Attributes:
        times: of every frame, those of the warm-up among them, in the order in which they ran.
        medians_ms: median of what a frame keeps the loop busy in each window, by mode.
        memory: (frames run so far, resident MiB) after each window.
        steady: whether the last three windows of each mode agree.
        ended: why it ended, in words.
    """

    times: FrameTimes
    medians_ms: dict[Mode, list[float]] = field(default_factory=lambda: {mode: [] for mode in MODES})
    memory: list[tuple[int, float]] = field(default_factory=list)
    steady: bool = False
    ended: str = ""

    def rows(self, mode: Mode) -> NDArray[np.int64]:
        """Rows of `times` that count for a mode."""
        return self.times.counted(MODES.index(mode))

    @property
    def memory_slope_mib(self) -> float:
        """MiB by which resident memory grew in 10,000 frames: a least-squares line; NaN for a single window."""
        frames, mib = zip(*self.memory, strict=True) if self.memory else ((), ())
        return 1e4 * slope(frames, mib)


class _Window(Source):
    """The next so many frames of another source, which stays open."""

    length: int | None

    def __init__(self, frames: Iterator[Frame], length: int, source: Source) -> None:
        self._frames, self.length = frames, length
        self.name, self.live, self.counts = source.name, source.live, SourceCounts()
        self._source = source

    @property
    def waiting(self) -> bool:
        return self._source.waiting

    def frames(self) -> Iterator[Frame]:
        return islice(self._frames, self.length)

    def close(self) -> None:
        """Leave the source itself open for the next window."""


def profile(
    pipelines: Mapping[Mode, Pipeline],
    source: Source,
    *,
    window: int = 100,
    warm_up: int = 20,
    max_frames: int = 5000,
) -> Profile:
    """Run windows of frames through one pipeline after the other until both are steady.

    Frames of a source that ends early are what there is. In each round every mode has a window, in turn first.

    Args:
        pipelines: by mode; they may share an engine.
        source: of frames; closed by the caller.
        window: frames of a window.
        warm_up: frames of each mode before the clock counts.
        max_frames: of both modes together, the warm-up not among them.

    Raises:
        ConfigError: numbers that give no window.
        SourceError, EngineError: as a run raises them.
    """
    _refuse_no_window(window, warm_up, max_frames)
    run = Profile(FrameTimes(max_frames + 2 * warm_up))
    frames = source.frames()
    for mode in MODES:
        _run(run, mode, pipelines[mode], _Window(frames, warm_up, source), warm_up=True)
    next_window = partial(_Window, frames, window, source)
    run.ended = _run_until_steady(run, pipelines, next_window, rounds=max_frames // (2 * window))
    return run


def _refuse_no_window(window: int, warm_up: int, max_frames: int) -> None:
    if window < 1 or warm_up < 0 or max_frames < 2 * window:
        raise ConfigError(
            f"a window of {window}, a warm-up of {warm_up} and {max_frames} frames cannot be profiled: expected a "
            "window of a frame at least, no negative warm-up, and frames for a window of each mode."
        )


def _run_until_steady(
    run: Profile, pipelines: Mapping[Mode, Pipeline], next_window: Callable[[], _Window], *, rounds: int
) -> str:
    """Windows of both modes, each in turn first; why they ended, in words."""
    for number in range(rounds):
        for mode in MODES if number % 2 == 0 else MODES[::-1]:
            if not _run(run, mode, pipelines[mode], next_window()):
                return "the source ended"
        run.steady = all(is_steady(medians, within=STEADY_WITHIN) for medians in run.medians_ms.values())
        if run.steady:
            return "the windows agree"
    counted = sum(len(run.rows(mode)) for mode in MODES)
    return f"{counted} frames were timed, and the windows do not agree"


def _run(run: Profile, mode: Mode, pipeline: Pipeline, window: _Window, *, warm_up: bool = False) -> bool:
    """One window; whether it had all its frames."""
    before = run.times.count

    def remember(results: Sequence[Result], stages: Stages, _update: Update | None) -> None:
        run.times.add(MODES.index(mode), results[-1].frame.index, stages, warm_up=warm_up)

    pipeline.on_batch = remember
    try:
        for _ in pipeline.run(window):
            pass
    finally:
        pipeline.on_batch = None
    rows = np.arange(before, run.times.count)
    if len(rows) and not warm_up:
        run.medians_ms[mode].append(float(np.median(run.times.busy(rows))))
        run.memory.append((run.times.count, resident_mib()))
    return len(rows) == window.length
