"""The answers of the JSON API, as settings-like models: what is sent is what the OpenAPI page says."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Action = Literal["hold", "resume", "reset", "rollback", "snapshot"]
Phase = Literal["starting", "running", "stalled", "ended"]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(_Told):
    """What one frame was answered."""

    frame: int = Field(description="index in the source")
    timestamp_s: float = Field(description="Unix time at which the frame was there")
    prediction: int | None = Field(description="class index; null where there is none")
    label: str | None
    confidence: float | None = Field(description="softmax probability, 0..1")
    entropy: float | None = Field(description="of the softmax, nats")
    adapted: bool = Field(description="whether the adapted model answered, or the frozen one")
    frozen_prediction: int | None = Field(description="of the frozen model; null where it was not asked")
    frozen_label: str | None
    frozen_confidence: float | None = Field(description="null in a list of earlier answers")
    age_ms: float = Field(description="from the frame to its answer")


class PastResult(Answer):
    """One batch that is over; of several frames the last."""

    number: int = Field(description="of the batch in this run, from 1")
    timings_ms: dict[str, float] = Field(description="milliseconds by stage")
    update: dict[str, float | None] | None = Field(description="figures of the update; null where there was none")


class Results(_Told):
    """The latest batches, oldest first."""

    results: list[PastResult]


class SourceState(_Told):
    """Where frames come from."""

    name: str = Field(description="without credentials")
    live: bool
    trouble: str | None = Field(description="why no frame comes at the moment")
    counts: dict[str, int] = Field(description="frames delivered, dropped, ...; times the source was opened again")


class Control(_Told):
    """Whether a button can be pressed."""

    enabled: bool
    reason: str | None = Field(description="why not")


class Kept(_Told):
    """Snapshots of what is learned."""

    folder: str
    names: list[str] = Field(description="newest first")
    written: int
    failed: int
    resumed_from: str | None


class Status(_Told):
    """How the run stands."""

    phase: Phase
    ended: str | None = Field(description="why the run ended")
    quiet_s: float | None = Field(description="seconds since the latest answer; null before the first")
    version: str
    artifact: str | None
    engine: str | None
    adapt: str = Field(description="when it learns")
    held: bool = Field(description="whether learning is on hold")
    frozen_since_s: float | None = Field(
        description="Unix time since which the frozen model answers; null: adapted"
    )
    newest: Answer | None
    drift: dict[str, float | None] = Field(description="domain and feature_shift of the latest update")
    counts: dict[str, int] = Field(description="frames, updates, origins of answers")
    events: dict[str, int] = Field(description="what the tracker found and the guard did")
    failures: dict[str, int] = Field(description="of learner and sidecar, by reason")
    source: SourceState
    snapshots: Kept | None = Field(description="null where none are kept")
    controls: dict[Action, Control]


class Asked(_Told):
    """What a button is given; every field may be left out."""

    name: str | None = Field(
        default=None, max_length=200, description="rollback: file name or number of a snapshot"
    )


class Done(_Told):
    """What a button did."""

    action: Action
    done: str = Field(description="in a sentence")


class Fault(_Told):
    """Why a request was not answered."""

    error: str


class Health(_Told):
    """Whether answers come."""

    healthy: bool
    phase: Phase
    quiet_s: float | None
    reason: str | None
