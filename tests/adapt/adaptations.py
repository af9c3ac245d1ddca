"""Adaptations of small networks, driven as a runtime would, for the tests of this folder."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from moase_edge.adapt.adaptation import Adaptation, Answer
from moase_edge.adapt.augmented import Rerun
from moase_edge.adapt.domains import DomainBank
from moase_edge.adapt.held import HeldSidecar
from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.adapt.tracker import Tracker
from tests.adapt.backbones import CHANNELS, random_taps, sidecar_of, small_vit

BLOCKS, BLOCK = (3, CHANNELS), 1
VARIANTS: dict[str, dict[str, Any]] = {
    "token": {},
    "distilled": {"distilled": True},
    "map": {"global_pool": "map"},
}
PLAIN = np.zeros(1, dtype=bool)


def head(sidecar: Sidecar, pooled: NDArray[np.floating]) -> NDArray[np.floating]:
    with torch.no_grad():
        return sidecar.classify(torch.from_numpy(pooled.astype(np.float32))).logits.numpy()


def tracker_of(sidecar: Sidecar, *, steerable: bool = False, **options: Any) -> Tracker:
    zero, one = np.zeros(CHANNELS), np.ones(CHANNELS)
    bank = DomainBank(zero, one, zero, one, source_frames=100, recognise_by_key=steerable)
    blocks, block = (BLOCKS, BLOCK) if steerable else (None, None)
    return Tracker(bank, partial(head, sidecar), blocks=blocks, block=block, **options)


def held(*, tracked: bool = True, steerable: bool = False, variant: str = "token", **options: Any) -> Adaptation:
    sidecar = sidecar_of(small_vit(**VARIANTS[variant]), perturbed=True)
    track = {name: options.pop(name) for name in ("remember", "recentre", "trials") if name in options}
    tracker = tracker_of(sidecar, steerable=steerable, **track) if tracked else None
    return Adaptation(HeldSidecar(sidecar), tracker=tracker, **options)


def taps_of(adaptation: Adaptation, seed: int = 0, batch: int = 1) -> Taps:
    return random_taps(adaptation._sidecar.teacher, batch, seed)


def never(*_: Any) -> Any:
    raise AssertionError("the engine was run again")


RERUN = Rerun(np.zeros((1, 3, 4, 4), np.float32), never)


def learn(
    adaptation: Adaptation, answer: Answer, frozen: NDArray[np.float32] | None = None, run_again: Any = never
) -> dict[str, float] | None:
    """Learn from an answer; the frozen model says the same unless told otherwise."""
    frozen = answer.logits if frozen is None else frozen
    return adaptation.learn(answer, frozen_logits=frozen, run_again=run_again, rerun=RERUN)


def follow(adaptation: Adaptation, steps: int, first: int = 0) -> list[bytes]:
    """Answer and learn from a seeded stream; the answers."""
    answers = []
    for seed in range(first, first + steps):
        answer = adaptation.answer(taps_of(adaptation, seed), PLAIN)
        learn(adaptation, answer)
        answers.append(answer.logits.tobytes())
    return answers
