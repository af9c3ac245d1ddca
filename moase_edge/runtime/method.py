"""What the pipeline drives: anything that answers a batch and may learn from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from moase_edge.runtime.stages import Stages

# Named figures of one update, such as loss or distance, for the journal and the plots.
Update = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to a batch.

    Attributes:
        logits: (B, K) float32, what is answered.
        frozen_logits: (B, K) float32, what the frozen model says; None for a method that has none. A row of NaN
            beside an adapted answer: it was not asked, because the engine was steered for that frame.
        adapted: (B,) bool, whether `logits` come from adapted weights or are the frozen answer.
        memory: what the method needs to learn from this batch; None where it cannot.
    """

    logits: NDArray[np.float32]
    frozen_logits: NDArray[np.float32] | None
    adapted: NDArray[np.bool_]
    memory: object | None = None

    @property
    def frozen_known(self) -> NDArray[np.bool_]:
        """(B,) whether the frozen model was asked; NaN that it answers itself is what was answered then."""
        if self.frozen_logits is None:
            return np.zeros(len(self.logits), dtype=bool)
        known: NDArray[np.bool_] = ~np.isnan(self.frozen_logits).all(axis=1) | ~self.adapted
        return known


class Method(Protocol):
    """A way to answer frames and to learn from them.

    Attributes:
        name: for reports.
        failures: how often learning or an adapted answer failed, by reason; the run goes on frozen.
        rollbacks: how often all that was learned was set back to an earlier state.
    """

    name: str
    failures: dict[str, int]

    @property
    def rollbacks(self) -> int: ...

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        """Answer a batch (B, 3, H, W) float32; times its own stages."""
        ...

    def learn(self, prediction: Prediction) -> Update | None:
        """Learn from a batch that was answered; None where nothing was learned."""
        ...

    def close(self) -> None:
        """Release engine and weights."""
        ...


@runtime_checkable
class Deferring(Protocol):
    """A method that can put off what an update costs, and keep what it needs for it."""

    def defer(self, prediction: Prediction) -> None:
        """Take from a batch that was answered what costs next to nothing: no engine run, no gradient."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A method that counts what it found and did, besides updates, rollbacks and failures."""

    def counts(self) -> dict[str, int]:
        """How often each thing happened since the method was built, by name."""
        ...


@runtime_checkable
class Following(Protocol):
    """A method that remembers frames of the stream it follows, besides what it learned from them."""

    def start_run(self) -> None:
        """Begin another stream: what was learned stays, what belongs to the frames before is forgotten."""
        ...


class RunCounts:
    """What a method counts from now on, which is when a run begins.

    Args:
        method: counts from when it was built.
    """

    def __init__(self, method: Method) -> None:
        self._method = method
        self._failures, self._events = dict(method.failures), counts_of(method)

    @property
    def failures(self) -> dict[str, int]:
        """By reason; those alone that there were."""
        return {name: count for name, count in _since(self._failures, self._method.failures).items() if count}

    @property
    def events(self) -> dict[str, int]:
        """What was found and done, by name."""
        return _since(self._events, counts_of(self._method))


def _since(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    # Going back to an earlier state may lower a count.
    return {name: max(count - before.get(name, 0), 0) for name, count in now.items()}


@runtime_checkable
class Stateful(Protocol):
    """A method whose learned state can be kept, and gone back to."""

    def state(self) -> object | None:
        """A copy of all that was learned, which later frames do not change; None where learning has failed."""
        ...

    def load(self, state: object) -> None:
        """Go back to a state, bit for bit. Raises AdaptationError, at the source state, where it does not fit."""
        ...

    def reset(self) -> None:
        """Go back to the source state, bit for bit."""
        ...

    def hold(self, held: bool) -> None:
        """Whether each frame is answered on its own, as with `--adapt hold`."""
        ...

    def figures(self) -> dict[str, Any]:
        """What was found, as plain data for people."""
        ...


def counts_of(method: Method) -> dict[str, int]:
    """What a method counted; empty for one that counts nothing."""
    return dict(method.counts()) if isinstance(method, Counting) else {}
