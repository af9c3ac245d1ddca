"""The answers to a few pictures, frozen and adapting, in several orders and rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moase_edge.bench.cells import run_cell
from moase_edge.bench.recorded_engine import RecordedEngine
from moase_edge.data.chance import generator
from moase_edge.data.labelled import LabelledImage
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.metrics.cell import CellRecord
from moase_edge.runtime.method import Method
from moase_edge.runtime.scheduler import parse_schedule

CAMERA_ORDER = "camera"
# First number of the generators' keys, apart from those of data sets and protocols.
_ORDER_KEY = 110


@dataclass(frozen=True, slots=True)
class ShownOrder:
    """The records of one order: first and last round, and what was counted over all of them.

    `ms_by_stage` is that of the first round.
    """

    name: str
    first: CellRecord
    last: CellRecord
    updates: int
    rollbacks: int
    answered_frozen: int
    failures: Mapping[str, int]
    ms_by_stage: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Shown:
    """All answers: the frozen model's, once, and the adapting one's, by order."""

    frozen: CellRecord
    frozen_ms_by_stage: Mapping[str, float]
    orders: tuple[ShownOrder, ...]


def show(
    frozen: Method,
    adapting: Callable[[], Method],
    frames: Sequence[LabelledImage],
    preprocessor: Preprocessor,
    *,
    seeds: Sequence[int],
    rounds: int,
    on_stage: Callable[[str], None],
    engine: RecordedEngine | None = None,
) -> Shown:
    """Run the pipeline with both methods over the same frames.

    Args:
        frozen: shown the frames once.
        adapting: makes the method anew for each order.
        frames: in the camera's order; `picture` is the place in it.
        engine: of the adapting method, see `run_cell`.
    """
    on_stage(f"{len(frames)} pictures, frozen")
    answers, measured = run_cell(frozen, frames, preprocessor, parse_schedule("off"), batch_size=1)
    orders = []
    for name, places in _orders(len(frames), seeds, rounds):
        on_stage(f"{len(frames)} pictures, adapting, {name} order, {rounds} round{'s' if rounds > 1 else ''}")
        shown = [[frames[place] for place in of_round] for of_round in places]
        orders.append(_show_order(name, adapting(), shown, preprocessor, engine))
    return Shown(answers, measured.ms_by_stage, tuple(orders))


def _orders(pictures: int, seeds: Sequence[int], rounds: int) -> Iterator[tuple[str, list[NDArray[np.int64]]]]:
    """Each order's name, and the places that each of its rounds shows; a shuffled order is shuffled each round."""
    yield CAMERA_ORDER, [np.arange(pictures)] * rounds
    for seed in seeds:
        shuffles = (generator(seed, _ORDER_KEY, number) for number in range(rounds))
        yield f"shuffled {seed}", [rng.permutation(pictures) for rng in shuffles]


def _show_order(
    name: str,
    method: Method,
    rounds: Sequence[Sequence[LabelledImage]],
    preprocessor: Preprocessor,
    engine: RecordedEngine | None,
) -> ShownOrder:
    """Show all rounds to one method, which goes on with what it learned."""
    every = parse_schedule("every")
    shown = [run_cell(method, frames, preprocessor, every, batch_size=1, engine=engine) for frames in rounds]
    return ShownOrder(
        name=name,
        first=shown[0][0],
        last=shown[-1][0],
        updates=sum(int(record.updated.sum()) for record, _ in shown),
        rollbacks=sum(int(record.rolled_back.sum()) for record, _ in shown),
        answered_frozen=sum(int((~record.adapted).sum()) for record, _ in shown),
        failures=dict(method.failures),
        ms_by_stage=shown[0][1].ms_by_stage,
    )
