"""The guard: do adapted answers still hold beside the frozen ones that the engine returns anyway?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moase_edge.metrics.uncertainty import entropy, softmax

Logits = NDArray[np.floating]

# What is kept of each frame beside its probabilities.
_ENTROPY, _FROZEN_ENTROPY, _CONFIDENT, _AGREED, _CONTRADICTED = range(5)
# Below this share of log K the frozen model is so sure that a share of its entropy says nothing.
_SURE = 0.1
# At least this share of its sure answers shared: the models see the same classes.
_MOST = 0.9


@dataclass(frozen=True, slots=True)
class GuardFigures:
    """What the guard sees in its window; entropies in nats.

    Attributes:
        frames: in the window, those with new content.
        classes, frozen_classes: that the answers tell apart, 1 .. K.
        entropy, frozen_entropy: mean over the answers.
        confident: frames on which the frozen model is sure.
        agreed: of these, answered alike by the adapted model.
        contradicted: of these, those on which the adapted model is sure of another class.
        distance: of the learned weights from the source, as last told.
    """

    frames: int
    classes: float
    frozen_classes: float
    entropy: float
    frozen_entropy: float
    confident: int
    agreed: int
    contradicted: int
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class GuardState:
    """A copy of what a guard remembers.

    Attributes:
        probabilities: (frames, 2, K) of adapted and frozen answers in the window, None before the first.
        facts: (frames, 5) entropies of both, whether the frozen model was sure, and whether the adapted one then
            agreed, or was sure of another class.
        oldest: row that the next frame replaces once the window is full.
        distance: as last told.
        broken: the alarm of a non-finite answer.
    """

    probabilities: NDArray[np.float32] | None
    facts: NDArray[np.float64]
    oldest: int
    distance: float
    broken: str | None


class Guard:
    """Compares adapted with frozen answers over a window of frames with new content.

    Only ratios count: a camera that sees one class for minutes makes both models' answers narrow.

    - *Class histogram*: `exp(H(mean p) - mean H(p))`, the number of classes that the answers tell apart. Without
      the second term it would be the effective number of classes in the mean answer, which also falls when answers
      become more certain and thus better: unsure answers alone spread it over all classes. Entropy objectives end
      at 1. An alarm at a third needs 3 classes in the frozen answers, so a stream of one class raises none.
      It is not raised either where the adapted model agrees with the frozen one on what that is sure of: then a
      narrow answer is a stream of few classes on which the frozen model errs in many ways.
    - *Entropy*: a quarter of the frozen one's is more certainty than better features bring (re-centring with and
      without spread: 0.8 to 1.2 of it on DeiT-Tiny). Not read where the frozen model is nearly certain itself. A
      rise is no alarm: on low contrast the frozen digits model is sure and wrong (91 %), the re-centred one unsure
      and better (55 %); and unsure answers that tell nothing apart are a collapse.
    - *Contradiction*: for the same reason another answer than the frozen one may be right. But where three in four
      of its sure answers, of 16 or more, meet an adapted model as sure of another class, the adapted one has lost
      what the frozen one still knows.
    - *Non-finite values* of the adapted answer alone, on any frame, and *distance* alarm at once.

    Nothing but these two is judged on fewer than `warm_up` frames. Memory: 8 K bytes for each frame of the window.

    Args:
        window, warm_up, min_class_ratio, min_entropy_ratio, confident, min_confident, max_contradiction,
            max_distance: see `GuardSettings`.
    """

    _probabilities: NDArray[np.float32] | None
    _facts: NDArray[np.float64]
    _frames: int
    _oldest: int
    _distance: float
    _broken: str | None

    def __init__(
        self,
        *,
        window: int = 64,
        warm_up: int = 32,
        min_class_ratio: float = 1 / 3,
        min_entropy_ratio: float = 0.25,
        confident: float = 0.8,
        min_confident: int = 16,
        max_contradiction: float = 0.75,
        max_distance: float | None = None,
    ) -> None:
        self._window = window
        self._warm_up = warm_up
        self._min_class_ratio = min_class_ratio
        self._min_entropy_ratio = min_entropy_ratio
        self._confident = confident
        self._min_confident = min_confident
        self._max_contradiction = max_contradiction
        self._max_distance = math.inf if max_distance is None else max_distance
        self.reset()

    def observe(
        self, adapted: Logits, frozen: Logits, *, new_content: bool = True, distance: float | None = None
    ) -> None:
        """Take in one answered frame; where its content is not new, only non-finite values and distance count.

        Args:
            adapted, frozen: logits (K,) of the same frame, before a non-finite one is replaced; K at least 2.
            distance: of the learned weights from the source; None keeps the one told last.

        Raises:
            ValueError: logits of other shapes.
        """
        self._check_shapes(adapted, frozen)
        if distance is not None:
            self._distance = distance
        if not np.isfinite(frozen).all():
            return  # the frame or the engine is to blame
        finite = np.isfinite(adapted)
        if not finite.all():
            self._broken = f"answer not finite: {int((~finite).sum())} of {len(finite)} logits, frozen none"
        elif new_content:
            self._remember(softmax(np.stack([adapted, frozen])))

    def tell_distance(self, distance: float) -> None:
        """Of the learned weights from the source, where it is known without an answer to compare."""
        self._distance = distance

    def check(self) -> str | None:
        """The first alarm, in words; what comes before the colon is one of a few names. None where all is well."""
        if self._broken is not None:
            return self._broken
        # A distance that is no number is no reason to go on.
        if not self._distance <= self._max_distance:
            return f"weights left the source: distance {self._distance:.3g}, at most {self._max_distance:.3g}"
        if self._frames < self._warm_up:
            return None
        seen = self.figures()
        return self._collapse(seen) or self._certainty(seen) or self._contradiction(seen)

    def figures(self) -> GuardFigures:
        """What the window holds now, for a report; of an empty one everything is 0, or 1 class."""
        if self._probabilities is None or not self._frames:
            return GuardFigures(0, 1.0, 1.0, 0.0, 0.0, 0, 0, 0, self._distance)
        means = self._facts[: self._frames].mean(axis=0)
        spread = entropy(self._probabilities[: self._frames].mean(axis=0))
        # float32 may leave the difference a rounding below 0.
        classes = np.exp(np.maximum(spread - means[: _FROZEN_ENTROPY + 1], 0))
        return GuardFigures(
            frames=self._frames,
            classes=float(classes[0]),
            frozen_classes=float(classes[1]),
            entropy=float(means[_ENTROPY]),
            frozen_entropy=float(means[_FROZEN_ENTROPY]),
            confident=round(means[_CONFIDENT] * self._frames),
            agreed=round(means[_AGREED] * self._frames),
            contradicted=round(means[_CONTRADICTED] * self._frames),
            distance=self._distance,
        )

    def snapshot(self) -> GuardState:
        """A copy of everything in the window and beside it."""
        held = None if self._probabilities is None else self._probabilities[: self._frames].copy()
        facts = self._facts[: self._frames].copy()
        return GuardState(held, facts, self._oldest, self._distance, self._broken)

    def restore(self, state: GuardState) -> None:
        """Go back to a snapshot of a guard with the same window, bit for bit."""
        self.reset()
        self._frames, self._oldest = len(state.facts), state.oldest
        self._distance, self._broken = state.distance, state.broken
        self._facts[: self._frames] = state.facts
        if state.probabilities is not None:
            self._probabilities = np.zeros((self._window, *state.probabilities.shape[1:]), np.float32)
            self._probabilities[: self._frames] = state.probabilities

    def reset(self) -> None:
        """Forget all answers; due when the weights were set back, since these are no longer theirs."""
        self._probabilities = None
        self._facts = np.zeros((self._window, 5))
        self._frames = 0
        self._oldest = 0
        self._distance = 0.0
        self._broken = None

    def _check_shapes(self, adapted: Logits, frozen: Logits) -> None:
        known = adapted.shape if self._probabilities is None else self._probabilities.shape[2:]
        if adapted.ndim != 1 or len(adapted) < 2 or not adapted.shape == frozen.shape == known:
            raise ValueError(
                f"adapted and frozen logits must both be of shape (K,), K at least 2 and the same for all frames; "
                f"got {adapted.shape} and {frozen.shape}"
            )

    def _remember(self, probabilities: NDArray[np.floating]) -> None:
        """Adapted and frozen probabilities (2, K) into the window, over the oldest ones where it is full."""
        if self._probabilities is None:
            self._probabilities = np.zeros((self._window, *probabilities.shape), np.float32)
        tops = probabilities.argmax(axis=1)
        adapted_sure, frozen_sure = probabilities.max(axis=1) >= self._confident
        same = tops[0] == tops[1]
        self._probabilities[self._oldest] = probabilities
        self._facts[self._oldest] = (
            *entropy(probabilities),
            frozen_sure,
            frozen_sure and same,
            frozen_sure and adapted_sure and not same,
        )
        self._oldest = (self._oldest + 1) % self._window
        self._frames = min(self._frames + 1, self._window)

    def _collapse(self, seen: GuardFigures) -> str | None:
        if seen.classes >= self._min_class_ratio * seen.frozen_classes or self._agrees(seen):
            return None
        return f"class histogram collapsed: {seen.classes:.1f} classes, frozen {seen.frozen_classes:.1f}"

    def _agrees(self, seen: GuardFigures) -> bool:
        """Whether the frozen model was sure often enough to tell, and mostly got the same answer."""
        return seen.confident >= self._min_confident and seen.agreed >= _MOST * seen.confident

    def _certainty(self, seen: GuardFigures) -> str | None:
        nearly_certain = seen.frozen_entropy <= _SURE * self._most()
        if nearly_certain or seen.entropy >= self._min_entropy_ratio * seen.frozen_entropy:
            return None
        return f"answers became too certain: mean {seen.entropy:.3f} nats, frozen {seen.frozen_entropy:.3f}"

    def _contradiction(self, seen: GuardFigures) -> str | None:
        if seen.confident < self._min_confident or seen.contradicted <= self._max_contradiction * seen.confident:
            return None
        return f"confident answers contradicted: {seen.contradicted} of {seen.confident}"

    def _most(self) -> float:
        """log K, the entropy of an answer that knows nothing."""
        return 0.0 if self._probabilities is None else math.log(self._probabilities.shape[2])
