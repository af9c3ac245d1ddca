"""When the learner takes a step."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from moase_edge.errors import ConfigError
from moase_edge.frames.source import Source


class Timing(Protocol):
    """When the learner takes a step.

    Attributes:
        mode: its name, for reports.
        idle: learn only while no newer frame waits.
    """

    @property
    def mode(self) -> str: ...

    @property
    def idle(self) -> bool: ...

    def due(self, batch: int) -> bool:
        """Whether batch number `batch`, from 0, is learned from; asked once a batch, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which batches are learned from.

    Attributes:
        mode: as the user wrote it.
        sidecar: whether the sidecar answers at all; without it the frozen model does, and no PyTorch is needed.
        every: learn from every n-th batch; None never learns.
        on_shift: weights learn only while the domain is new.
        idle: learn only while no newer frame waits.
    """

    mode: str
    sidecar: bool
    every: int | None
    on_shift: bool = False
    idle: bool = False

    def due(self, batch: int) -> bool:
        """Whether batch number `batch`, from 0, is learned from."""
        return self.every is not None and batch % self.every == 0


def parse_schedule(mode: str) -> Schedule:
    """Read `every`, `every-N`, `on-shift`, `idle`, `hold` or `off`.

    Raises:
        ConfigError: anything else.
    """
    if mode == "off":
        return Schedule(mode, sidecar=False, every=None)
    if mode == "hold":
        return Schedule(mode, sidecar=True, every=None)
    if mode == "on-shift":
        return Schedule(mode, sidecar=True, every=1, on_shift=True)
    if mode == "idle":
        return Schedule(mode, sidecar=True, every=1, idle=True)
    match = re.fullmatch(r"every(?:-([1-9][0-9]{0,8}))?", mode)
    if match is None:
        raise ConfigError(
            f"--adapt {mode!r} is unknown. Expected every (learn from each frame), every-N (each N-th, such as "
            "every-10), on-shift (weights learn while the domain is new), idle (learn while no frame waits), hold "
            "(answer adapted, learn nothing) or off (the frozen model, no PyTorch)."
        )
    return Schedule(mode, sidecar=True, every=int(match.group(1) or 1))


def asked_whether_frames_wait(schedule: Timing, source: Source) -> Callable[[], bool]:
    """Whether a newer frame of a source waits to be answered, each time it is called.

    Raises:
        ConfigError: the schedule learns only while none does, and one always will.
    """
    if schedule.idle and not source.live:
        raise ConfigError(
            f"--adapt idle learns while no frame waits, and all frames of {source.name} do. "
            "Take every, or replay it with --pace real."
        )
    return lambda: source.waiting
