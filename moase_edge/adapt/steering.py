"""Whether steering the tokens of a domain pays: decided without labels, by trials on frames that can spare one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from moase_edge.metrics.uncertainty import entropy, softmax

Pooled = NDArray[np.floating]
# Logits (n, K) of head inputs (n, H, C).
Head = Callable[[Pooled], NDArray[np.floating]]

# Of each domain; more where `trials` asks for them.
_KEPT_PAIRS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What was tried in one domain.

    Attributes:
        plain, steered: head inputs (H, C) of the same frames without and with steering, the latest last.
        steers: what was decided.
        since: frames with new content since the last trial.
    """

    plain: tuple[Pooled, ...] = ()
    steered: tuple[Pooled, ...] = ()
    steers: bool = False
    since: int = 0


class SteeringTrials:
    """Runs the alternative on a few frames of each domain and keeps what makes its answers surer.

    Entropy alone is no proof that answers are better, and where the gain is small they are not (a saturated or
    dark picture: -3 % and 3 to 5 points worse; noise, blur, snow: -8 to -19 % and 2 to 9 points better). Hence
    `gain`.

    Args:
        head: from head inputs to logits.
        gain, trials, try_every: see `TrackSettings`.
    """

    _trials: Mapping[int, Trial]

    def __init__(self, head: Head, *, gain: float = 0.06, trials: int = 8, try_every: int = 32) -> None:
        self._head = head
        self._gain, self._needed, self._every = gain, trials, try_every
        self.reset()

    def steers(self, number: int) -> bool:
        """Whether the domain of this number is steered."""
        return number in self._trials and self._trials[number].steers

    def due(self, number: int) -> bool:
        """Whether a frame with new content of this domain should be tried both ways; counts the frame."""
        trial = self._trials.get(number, Trial())
        due = len(trial.plain) < self._needed or trial.since >= self._every
        self._put(number, replace(trial, since=trial.since + 1))
        return due

    def add(self, number: int, plain: Pooled, steered: Pooled) -> None:
        """Keep one frame's head inputs (H, C) of both ways."""
        trial = self._trials.get(number, Trial())
        kept = slice(-max(_KEPT_PAIRS, self._needed), None)
        pairs = replace(trial, plain=(*trial.plain, plain)[kept], steered=(*trial.steered, steered)[kept], since=0)
        self._put(number, pairs)

    def decide(
        self, number: int, plain_offset: NDArray[np.float64] | None, steered_offset: NDArray[np.float64] | None
    ) -> None:
        """Compare both ways, each with its own features moved back by its offset (C,)."""
        trial = self._trials.get(number, Trial())
        if len(trial.plain) >= self._needed:
            plain = self._mean_entropy(trial.plain, plain_offset)
            steered = self._mean_entropy(trial.steered, steered_offset)
            self._put(number, replace(trial, steers=steered < (1 - self._gain) * plain))

    def snapshot(self) -> Mapping[int, Trial]:
        """All trials; later ones do not change it."""
        return self._trials

    def restore(self, trials: Mapping[int, Trial]) -> None:
        """Go back to a snapshot."""
        self._trials = trials

    def reset(self) -> None:
        """Forget all trials: nothing is steered."""
        self._trials = {}

    def forget_all_but(self, numbers: set[int]) -> None:
        """Drop trials of domains that are no longer kept."""
        if not self._trials.keys() <= numbers:
            self._trials = {number: trial for number, trial in self._trials.items() if number in numbers}

    def _mean_entropy(self, pooled: tuple[Pooled, ...], offset: NDArray[np.float64] | None) -> float:
        inputs = np.stack(pooled)
        return float(entropy(softmax(self._head(inputs if offset is None else inputs - offset))).mean())

    def _put(self, number: int, trial: Trial) -> None:
        self._trials = {**self._trials, number: trial}
