"""How a run stands, told to those who watch it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from time import monotonic
from typing import Any

from moase_edge.metrics.uncertainty import softmax
from moase_edge.runtime.method import Stateful
from moase_edge.runtime.result import Result
from moase_edge.runtime.scheduler import parse_schedule
from moase_edge.runtime.web.answers import (
    Action,
    Answer,
    Control,
    Health,
    Kept,
    PastResult,
    Phase,
    SourceState,
    Status,
)
from moase_edge.runtime.web.history import History
from moase_edge.runtime.web.live import Live, Moment
from moase_edge.version import __version__

QUIET_S = 10.0
"""Seconds without an answer after which a run is not healthy."""
_MOST_NAMES = 50
_TOLD = (
    "timestamp_s",
    "prediction",
    "label",
    "confidence",
    "entropy",
    "adapted",
    "frozen_prediction",
    "age_ms",
)


def status_of(live: Live, history: History) -> Status:
    """Everything but the pictures and the past."""
    run, counts = live.pipeline, live.counts
    return Status(
        phase=phase_of(live),
        ended=live.ended,
        quiet_s=quiet_s(live),
        version=__version__,
        artifact=_text(run.facts.get("artifact")),
        engine=_text(run.facts.get("engine")),
        adapt=run.schedule.mode,
        held=run.controls.held,
        frozen_since_s=history.frozen_since_s if parse_schedule(run.schedule.mode).sidecar else None,
        newest=None if live.newest is None else answer_to(live.newest[0], run.labels),
        drift=finite(history.drift),
        counts=dict(counts.frames),
        events=dict(counts.events),
        failures=dict(counts.failures),
        source=source_state(live),
        snapshots=kept(live),
        controls=controls_of(live),
    )


def phase_of(live: Live) -> Phase:
    """Whether answers come."""
    if live.ended is not None:
        return "ended"
    quiet = quiet_s(live)
    if quiet is None:
        return "starting"
    return "stalled" if quiet > QUIET_S or live.trouble is not None else "running"


def health_of(live: Live, within_s: float) -> Health:
    """Healthy is a run of which an answer came within so many seconds."""
    quiet = quiet_s(live)
    reason = live.ended or live.trouble
    if reason is None and quiet is None:
        reason = "no frame was answered yet"
    if reason is None and quiet is not None and quiet > within_s:
        reason = f"no frame was answered for {quiet:.0f} s"
    return Health(healthy=reason is None, phase=phase_of(live), quiet_s=quiet, reason=reason)


def quiet_s(live: Live) -> float | None:
    """Seconds since the latest answer; None before the first."""
    return None if live.newest is None else round(max(monotonic() - live.newest[1], 0.0), 3)


def answer_to(result: Result, labels: tuple[str, ...]) -> Answer:
    """The newest answer, frozen beside adapted."""
    frozen, confidence = result.frozen_prediction, None
    if frozen is not None and result.frozen_logits is not None:
        confidence = _finite(float(softmax(result.frozen_logits)[frozen]))
    return Answer(
        frame=result.frame.index,
        frozen_label=_label(frozen, labels),
        frozen_confidence=confidence,
        **_told(result),
    )


def past(number: int, moment: Moment, labels: tuple[str, ...]) -> PastResult:
    """A batch that is over."""
    return PastResult.model_construct(
        number=number,
        frame=moment.frame,
        frozen_label=_label(moment.frozen_prediction, labels),
        frozen_confidence=None,
        timings_ms=dict(moment.timings_ms),
        update=None if moment.update is None else finite(moment.update),
        **_told(moment),
    )


def source_state(live: Live) -> SourceState:
    """Where frames come from, and what went wrong there."""
    source = live.source
    counts = {name: value for name, value in asdict(source.counts).items() if isinstance(value, int)}
    return SourceState(name=source.name, live=source.live, trouble=live.trouble, counts=counts)


def kept(live: Live) -> Kept | None:
    """The snapshots there are; the folder is read each time."""
    snapshots = live.pipeline.controls.snapshots
    if snapshots is None:
        return None
    names = [path.name for path in snapshots.folder.snapshots()[:_MOST_NAMES]]
    return Kept(
        folder=str(snapshots.folder.path),
        names=names,
        written=snapshots.written,
        failed=snapshots.failed,
        resumed_from=snapshots.resumed_from,
    )


def controls_of(live: Live) -> dict[Action, Control]:
    """Each button, and why it cannot be pressed."""
    return {action: Control(enabled=why is None, reason=why) for action, why in _reasons(live).items()}


def _reasons(live: Live) -> dict[Action, str | None]:
    run = live.pipeline
    mode, held, snapshots = run.schedule.mode, run.controls.held, run.controls.snapshots
    ended = None if live.ended is None else "the run has ended"
    learns = ended or (None if parse_schedule(mode).every else f"--adapt {mode} learns nothing")
    stateless = ended or (None if isinstance(run.method, Stateful) else f"--adapt {mode} has nothing learned")
    keeps = stateless
    if keeps is None and (snapshots is None or not snapshots.writes):
        keeps = "this run keeps no snapshots; start it with --state DIR"
    empty = (
        None if keeps or (snapshots is not None and snapshots.folder.snapshots()) else "there is no snapshot yet"
    )
    return {
        "hold": learns or ("learning is on hold already" if held else None),
        "resume": learns or (None if held else "learning is not on hold"),
        "reset": stateless,
        "rollback": keeps or empty,
        "snapshot": keeps,
    }


def finite(values: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers that JSON can carry; None for the others."""
    return {name: _finite(float(value)) for name, value in values.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _told(answered: Result | Moment) -> dict[str, Any]:
    return {name: getattr(answered, name) for name in _TOLD}


def _label(prediction: int | None, labels: tuple[str, ...]) -> str | None:
    return labels[prediction] if prediction is not None and prediction < len(labels) else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
