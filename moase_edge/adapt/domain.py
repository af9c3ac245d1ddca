"""One domain of a stream, the frames that it is known by, and all that a bank of domains remembers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

SOURCE = 0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame with new content.

    Attributes:
        key: (C,) standardised.
        features: (C,).
        steered_for: number of the domain that it was steered for; the source's where it was not.
        seen: clock of it.
    """

    key: Vector
    features: Vector
    steered_for: int
    seen: int


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """What is known of one domain; arrays are never written to.

    Attributes:
        number: of the domain in the order of discovery; the source has 0.
        centre: (C,) mean of its frames' standardised keys.
        plain, steered: (C,) mean features without and with steering; None where there were none.
        frames: with new content, by which `centre` and `plain` or `steered` are known.
        plain_frames, steered_frames: of these.
        last_seen: clock of its latest one.
    """

    number: int
    centre: Vector
    plain: Vector | None
    steered: Vector | None
    frames: int
    plain_frames: int
    steered_frames: int
    last_seen: int

    def with_frame(self, frame: Frame, *, keep: float, now: int) -> Domain:
        """The domain after another of its frames; features that were steered for another domain do not count."""
        frames = self.frames + 1
        moved = replace(self, centre=_toward(self.centre, frame.key, frames, keep), frames=frames, last_seen=now)
        if frame.steered_for not in (SOURCE, self.number):
            return moved
        return moved.with_features(frame.features, steered=frame.steered_for != SOURCE, keep=keep)

    def with_features(self, features: Vector, *, steered: bool, keep: float) -> Domain:
        """The domain after features of one of its frames."""
        if steered:
            count = self.steered_frames + 1
            mean = features if self.steered is None else _toward(self.steered, features, count, keep)
            return replace(self, steered=mean, steered_frames=count)
        count = self.plain_frames + 1
        mean = features if self.plain is None else _toward(self.plain, features, count, keep)
        return replace(self, plain=mean, plain_frames=count)


@dataclass(frozen=True, slots=True, eq=False)
class Recognition:
    """What the rows of a batch show.

    Attributes:
        slot: (B,) index into the bank's domains; 0 is the source.
        share: (B,) how much of that domain's deviation from the source each row has itself, 0..1.
    """

    slot: NDArray[np.int64]
    share: Vector


@dataclass(frozen=True, slots=True, eq=False)
class BankState:
    """All that a bank remembers.

    Attributes:
        domains: the source and every domain that is kept.
        current: slot of the domain at hand.
        pending: frames that lie near no known domain and are counted to none yet.
        clock: frames with new content so far.
        found: number of the latest domain.
        unrest: running share of the frames with new content that began a domain.
    """

    domains: tuple[Domain, ...]
    current: int
    pending: tuple[Frame, ...]
    clock: int
    found: int
    unrest: float


def _toward(mean: Vector, value: Vector, count: int, keep: float) -> Vector:
    """The running mean after its `count`-th value: the plain mean at first, then one that forgets."""
    return mean + max(1 / count, 1 - keep) * (value - mean)
