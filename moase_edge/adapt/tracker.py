"""The tracker: corrects a frozen model for the domain at hand, forward only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moase_edge.adapt.content import ContentMemory, ContentState
from moase_edge.adapt.domain import SOURCE, BankState, Recognition
from moase_edge.adapt.domains import DomainBank
from moase_edge.adapt.steering import Head, SteeringTrials, Trial

Rows = NDArray[np.bool_]
Pooled = NDArray[np.floating]
# Head inputs (n, H, C) of rows of the batch, run again with a shift (n, L, C) or none.
RunAgain = Callable[[NDArray[np.int64], "NDArray[np.float32] | None"], Pooled]

# Of a batch, so that a trial costs a fraction of it.
_TRIED_ROWS = 4
# Changes of domain from frame to frame, as a running share: beyond it every batch would be run twice.
_RESTLESS = 0.25
_RESTLESS_WINDOW = 32


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the tracker makes of one batch.

    Attributes:
        keys: (B, C) standardised.
        found: domain of each row.
        steered_for: (B,) number of the domain that each row's tokens were steered for; the source's for none.
        pooled: (B, H, C) head inputs as the sidecar gave them.
        new: (B,) bool, rows with new content.
    """

    keys: NDArray[np.float64]
    found: Recognition
    steered_for: NDArray[np.int64]
    pooled: Pooled
    new: Rows


@dataclass(frozen=True, slots=True, eq=False)
class TrackerState:
    """All that a tracker remembers."""

    bank: BankState
    content: ContentState | None
    trials: Mapping[int, Trial]
    latest: int
    restlessness: float
    uncounted: bool


@dataclass(frozen=True, slots=True, eq=False)
class FixedCorrection:
    """What a tracker does to a frame on its own as long as it learns nothing; rows are domains, the source first.

    Attributes:
        key_mean, key_scale: (C,), `(key - mean) * scale` is standardised.
        centres: (D, C) of standardised keys.
        offsets: (D, C), taken off the features, times the share of the deviation that a frame has itself.
        shifts: (D, C), added to the tokens that enter `block`.
        block: by whose entrance domains are told; None where they are not, and all frames are of the last one.
    """

    key_mean: NDArray[np.float64]
    key_scale: NDArray[np.float64]
    centres: NDArray[np.float64]
    offsets: NDArray[np.float64]
    shifts: NDArray[np.float32]
    block: int | None


class Tracker:
    """Recognises each frame's domain, moves features and tokens back to the source, averages over one content.

    Args:
        bank: the domains.
        head: from head inputs (n, H, C) to logits (n, K).
        blocks: (L, C) of an engine that can be steered; None of another one.
        block: where it is steered, and by whose entrance domains are recognised; None with `blocks`.
        recentre, remember, steer, same_content, strength, gain, trials, try_every: see `TrackSettings`.

    Attributes:
        held: whether each frame is answered on its own for now: without those before it, and steered as its own
            domain asks for, however often that changes.
    """

    _latest: int
    _restlessness: float
    _uncounted: bool

    def __init__(
        self,
        bank: DomainBank,
        head: Head,
        *,
        blocks: tuple[int, int] | None,
        block: int | None,
        recentre: bool = True,
        remember: bool = True,
        steer: bool = True,
        same_content: float = 0.6,
        strength: float = 0.7,
        gain: float = 0.06,
        trials: int = 8,
        try_every: int = 32,
    ) -> None:
        self._bank, self._blocks = bank, blocks
        self._content = ContentMemory(same_content=same_content)
        self._trials = SteeringTrials(head, gain=gain, trials=trials, try_every=try_every)
        self._recentre, self._remember = recentre, remember
        self._steer = steer and blocks is not None
        self._strength = strength
        self.block = block
        self.held = False
        self.reset()

    @property
    def shifting(self) -> bool:
        """Whether the domain at hand is unknown, or known from few frames: when updates are worth most."""
        domain = self._bank.domains[self._bank.current]
        return self._bank.waiting > 0 or (self._bank.current != SOURCE and domain.frames < _RESTLESS_WINDOW)

    def expected(self, batch: int) -> NDArray[np.int64]:
        """(B,) the domain to steer for before a batch is seen: the latest frame's; the source if restless."""
        restless = self._restlessness > _RESTLESS
        return np.full(batch, SOURCE if restless else self._latest, dtype=np.int64)

    def steers(self, slots: NDArray[np.int64]) -> Rows:
        """(B,) whether tokens of these domains are steered."""
        idle = not self._steer or not self._bank.tells_domains
        if idle or (self._restlessness > _RESTLESS and not self.held):
            return np.zeros(len(slots), dtype=bool)
        domains = self._bank.domains
        return np.array([slot != SOURCE and self._trials.steers(domains[slot].number) for slot in slots])

    def shift(self, slots: NDArray[np.int64], rows: Rows) -> NDArray[np.float32] | None:
        """(B, L, C) for the engine: each row's domain taken back where `rows` says so; None if nothing moves."""
        if self._blocks is None or not rows.any():
            return None
        shift = np.zeros((len(slots), *self._blocks), dtype=np.float32)
        for slot in np.unique(slots[rows]):
            offset = self._bank.key_offset(int(slot))
            if offset is not None:
                shift[rows & (slots == slot), self.block] = -self._strength * offset
        return shift if shift.any() else None

    def recognise(self, raw_keys: NDArray[np.floating]) -> tuple[NDArray[np.float64], Recognition]:
        """(B, C) token means of `block`, or features where there are none -> standardised keys, domains."""
        keys = self._bank.keys(raw_keys)
        return keys, self._bank.recognise(keys)

    def correct(
        self, pooled: Pooled, keys: NDArray[np.float64], found: Recognition, steered: Rows
    ) -> tuple[Pooled, Seen]:
        """Head inputs (B, H, C) moved back to the source and averaged over one content, row after row."""
        corrected, new = np.empty(pooled.shape), np.empty(len(pooled), dtype=bool)
        finite = np.all(np.isfinite(pooled), axis=(1, 2)) & np.all(np.isfinite(keys), axis=1)
        for row, (slot, share) in enumerate(zip(found.slot, found.share, strict=True)):
            if not finite[row]:  # it would stay in every mean
                corrected[row], new[row] = pooled[row], False
                continue
            offset = self._offset(int(slot), steered=bool(steered[row]))
            moved = pooled[row] if offset is None else pooled[row] - share * offset
            key = self._bank.centred(keys[row], int(slot))
            mean, first = self._content.see(moved - self._bank.feature_mean, key)
            averaged = self._remember and not (first or self.held)
            corrected[row] = mean + self._bank.feature_mean if averaged else moved
            # Content that began on a frame that was not learned from counts with the next one that is.
            new[row] = first or self._uncounted
            self._uncounted = False
            self._restlessness += (float(slot != self._latest) - self._restlessness) / _RESTLESS_WINDOW
            self._latest = int(slot)
        self._uncounted = bool(new.any())
        numbers = np.array([domain.number for domain in self._bank.domains], dtype=np.int64)
        return corrected, Seen(keys, found, np.where(steered, numbers[found.slot], SOURCE), pooled, new)

    def count(self, seen: Seen) -> NDArray[np.int64]:
        """Count the frames with new content, which takes no engine run; their rows."""
        self._uncounted = False
        rows = np.flatnonzero(seen.new)
        for row, features in zip(rows, seen.pooled[rows].mean(axis=1, dtype=np.float64), strict=True):
            self._bank.observe(seen.keys[row], features, steered_for=int(seen.steered_for[row]))
        return rows

    def learn(self, seen: Seen, run_again: RunAgain) -> dict[str, float]:
        """Count the frames with new content, and try the alternative on a few of them.

        Args:
            run_again: runs rows of the same batch through engine and sidecar; called where a trial is due.

        Returns:
            Figures for the journal.
        """
        rows = self.count(seen)
        if self._steer:
            self._try(seen, rows, run_again)
        domain = self._bank.domains[self._bank.current]
        offset = self._offset(self._bank.current, steered=self._trials.steers(domain.number))
        return {
            "domain": float(domain.number),
            "feature_shift": 0.0 if offset is None else float(np.linalg.norm(offset)),
            "steered": float(self._trials.steers(domain.number)),
        }

    def pass_over(self, seen: Seen) -> int:
        """How many contents a batch began that nothing is learned from; a later frame does not count for them."""
        self._uncounted = False
        return int(seen.new.sum())

    def counts(self) -> dict[str, int]:
        """What was found, for reports."""
        return self._bank.counts()

    def figures(self) -> list[dict[str, float]]:
        """Of each domain but the source: number, frames that it is known by, how far its features are moved."""
        found = []
        for slot, domain in enumerate(self._bank.domains[1:], start=1):
            steered = self._trials.steers(domain.number)
            offset = self._offset(slot, steered=steered)
            moved = 0.0 if offset is None else float(np.linalg.norm(offset))
            entry = {"number": domain.number, "frames": domain.frames, "steered": steered, "feature_shift": moved}
            found.append(entry)
        return found

    def fixed(self) -> FixedCorrection:
        """What is done to a frame that comes after others of its own domain, as long as nothing is learned."""
        slots = np.arange(len(self._bank.domains))
        rows = self.steers(slots)
        shift = self.shift(slots, rows)
        channels = len(self._bank.feature_mean)
        shifts = np.zeros((len(slots), channels), np.float32) if shift is None else shift[:, self.block]
        offsets = [self._offset(int(slot), steered=bool(shifts[slot].any())) for slot in slots]
        zero = np.zeros(channels)
        return FixedCorrection(
            *self._bank.standardisation,
            centres=np.stack([domain.centre for domain in self._bank.domains]),
            offsets=np.stack([zero if offset is None else offset for offset in offsets]),
            shifts=shifts,
            block=self.block,
        )

    def snapshot(self) -> TrackerState:
        """A copy of all that was learned."""
        return TrackerState(
            self._bank.snapshot(),
            self._content.snapshot(),
            self._trials.snapshot(),
            self._latest,
            self._restlessness,
            self._uncounted,
        )

    def restore(self, state: TrackerState) -> None:
        """Go back to a snapshot, bit for bit."""
        self._bank.restore(state.bank)
        self._content.restore(state.content)
        self._trials.restore(state.trials)
        self._latest, self._restlessness = state.latest, state.restlessness
        self._uncounted = state.uncounted

    def start_run(self) -> None:
        """Begin another stream: what was learned stays, what belongs to the frames before is forgotten."""
        self._bank.start_run()
        self._content.reset()
        self._latest, self._restlessness, self._uncounted = SOURCE, 0.0, False

    def reset(self) -> None:
        """Know the source alone."""
        self._bank.reset()
        self._content.reset()
        self._trials.reset()
        self._latest, self._restlessness, self._uncounted = SOURCE, 0.0, False

    def _offset(self, slot: int, *, steered: bool) -> NDArray[np.float64] | None:
        """(C,) by which features of a domain are moved back; None for nothing."""
        return self._bank.feature_offset(slot, steered=steered) if self._recentre else None

    def _try(self, seen: Seen, rows: NDArray[np.int64], run_again: RunAgain) -> None:
        self._trials.forget_all_but({domain.number for domain in self._bank.domains})
        due = [(row, slot) for row, slot in self._known(seen, rows) if self._trials.due(self._number(slot))]
        due = due[:_TRIED_ROWS]
        for plain_first in (True, False):
            chosen = [(row, slot) for row, slot in due if (seen.steered_for[row] == SOURCE) == plain_first]
            if chosen:
                self._run_other_way(seen, chosen, run_again, steer=plain_first)
        for slot in {slot for _, slot in due}:
            offsets = (self._offset(slot, steered=steered) for steered in (False, True))
            self._trials.decide(self._number(slot), *offsets)

    def _known(self, seen: Seen, rows: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Rows whose domain is known, with its slot; others would spoil what is known of their nearest one."""
        rows = np.array([row for row in rows if not self._bank.waits(seen.keys[row])], dtype=np.int64)
        # Slots may have got other domains since the batch was recognised, and was steered for those of then.
        slots = self._bank.recognise(seen.keys[rows]).slot
        return [
            (int(row), int(slot))
            for row, slot in zip(rows, slots, strict=True)
            if slot != SOURCE
            and self._bank.fits(seen.keys[row], slot)
            and seen.steered_for[row] in (SOURCE, self._number(slot))
        ]

    def _number(self, slot: int) -> int:
        return self._bank.domains[slot].number

    def _run_other_way(
        self, seen: Seen, chosen: list[tuple[int, int]], run_again: RunAgain, *, steer: bool
    ) -> None:
        rows, slots = (np.array(column, dtype=np.int64) for column in zip(*chosen, strict=True))
        shift = self.shift(slots, np.ones(len(slots), dtype=bool)) if steer else None
        if steer:
            if shift is None:
                return
            moved = shift.any(axis=(1, 2))
            rows, slots, shift = rows[moved], slots[moved], shift[moved]
        for row, slot, other in zip(rows, slots, run_again(rows, shift), strict=True):
            if not np.isfinite(other).all():
                continue
            plain, steered = (seen.pooled[row], other) if steer else (other, seen.pooled[row])
            self._bank.add_features(int(slot), other.mean(axis=0, dtype=np.float64), steered=steer)
            self._trials.add(self._number(slot), plain, steered)


def steered_block(blocks: int, depth: float, adapt_blocks: int) -> int:
    """Index of the block that lies at this share of the depth, 0 to L - 1, and inside the engine.

    Args:
        adapt_blocks: k; what follows the first adapted block runs in the sidecar, out of a shift's reach.
    """
    return max(min(round(depth * blocks), blocks - adapt_blocks), 0)
