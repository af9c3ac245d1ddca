"""Banks of small numbers, for the tests of this folder."""

from __future__ import annotations

from typing import Any

import numpy as np

from moase_edge.adapt.domain import SOURCE, Vector
from moase_edge.adapt.domains import DomainBank

C = 4


def bank_of(*, source_frames: int = 100, std: float = 1.0, **options: Any) -> DomainBank:
    """Keys and features of the source are around 0."""
    zero, spread = np.zeros(C), np.full(C, std)
    return DomainBank(zero, spread, zero, spread, source_frames=source_frames, **options)


def at(value: float) -> Vector:
    return np.full(C, value)


def show(bank: DomainBank, *values: float, steered_for: int = SOURCE) -> None:
    """Frames whose key and features are this value in every channel."""
    for value in values:
        bank.observe(at(value), at(value), steered_for=steered_for)
