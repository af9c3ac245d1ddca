"""Domains that a stream has shown: recognised from a single frame, and corrected from its first return on.

The mean patch token half way through the backbone tells domains apart far better than the features at its end do
(docs/experiments.md: 97 % of single frames among ten domains). Each domain keeps where its frames lie, and where
their features lie; what it is corrected by is the difference to the source, as far as that is more than chance.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from moase_edge.adapt.domain import SOURCE, BankState, Domain, Frame, Recognition, Vector

# Contents, in units of those that make a domain, after which a frame that waits belongs to nothing any more.
_PATIENCE = 4
# Running share of contents that begin a domain, over so many of them, from which keys tell noise and not light:
# every domain is then no more than the content that it began with.
_UNREST, _UNREST_WINDOW = 0.07, 24


class DomainBank:
    """Recognises domains and keeps their means. Only frames with new content are counted.

    A frame that lies near no known domain waits; `decide` such frames either return to one, by their mean, or
    become a new one, less those that lie too far from their mean for a single domain. One that waits for long is
    forgotten. Where domains are found all the time, keys do not tell domains, and nothing counts as known of them.
    What the source is never moves. A difference to the source counts by the positive part of
    James and Stein's estimator, `d * max(0, 1 - caution * v / mean((d / spread)^2))` with v the sampling variance
    of both means, so that a clean stream is not moved at all.

    Args:
        key_mean, key_std: (C,) of the source's keys, by which they are standardised.
        feature_mean, feature_std: (C,) of the source's features.
        source_frames: images that those come from.
        recognise_by_key: False where keys tell little, as final features do: then all frames belong to one domain
            that is always the present one.
        most_domains, near, spread, decide, half_life, caution: see `TrackSettings`; `near` and `spread` are for a
            source known by 100 images or more, and grow where there are fewer.
    """

    _state: BankState

    def __init__(
        self,
        key_mean: Vector,
        key_std: Vector,
        feature_mean: Vector,
        feature_std: Vector,
        *,
        source_frames: int,
        recognise_by_key: bool = True,
        most_domains: int = 16,
        near: float = 0.5,
        spread: float = 1.2,
        decide: int = 3,
        half_life: float = 34.0,
        caution: float = 1.0,
    ) -> None:
        self._key_mean, self._key_scale = key_mean, 1 / _floored(key_std)
        self.feature_mean, self._feature_scale = feature_mean, 1 / _floored(feature_std)
        self.key_std = _floored(key_std)
        self._source_frames, self._by_key = source_frames, recognise_by_key
        self._most, allowance = most_domains, _allowance(source_frames)
        self._near, self._spread = near * allowance, spread * allowance
        self._found_in_all = self._switches = 0
        self._decide, self._keep, self._caution = decide, 0.5 ** (1 / half_life), caution
        self.reset()

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The source and every domain that is kept."""
        return self._state.domains

    @property
    def current(self) -> int:
        """Slot of the domain that the latest frame with new content was counted to."""
        return self._state.current

    @property
    def waiting(self) -> int:
        """Frames with new content that lie near no known domain and are counted to none yet."""
        return len(self._state.pending)

    @property
    def tells_domains(self) -> bool:
        """Whether domains are found no more often than light can change."""
        return self._state.unrest <= _UNREST

    @property
    def standardisation(self) -> tuple[Vector, Vector]:
        """What is taken off raw keys (C,), and what they are multiplied with then."""
        return self._key_mean, self._key_scale

    def keys(self, raw: NDArray[np.floating]) -> Vector:
        """(B, C) in units of the source's spread."""
        return (raw.astype(np.float64) - self._key_mean) * self._key_scale

    def centred(self, key: Vector, slot: int) -> Vector:
        """A key (C,) less its domain's mean; nothing where keys are features, which are compared as they are."""
        return key - self.domains[slot].centre if self._by_key else np.zeros_like(key)

    def recognise(self, keys: Vector) -> Recognition:
        """(B, C) standardised keys -> nearest domain of each row; one that is not finite counts as the source."""
        finite = np.all(np.isfinite(keys), axis=1)
        keys = np.where(finite[:, None], keys, 0)
        centres = np.stack([domain.centre for domain in self.domains])
        if self._by_key:
            # |key - centre|^2 less |key|^2, which all domains share.
            slot = ((centres**2).sum(axis=1) - 2 * keys @ centres.T).argmin(axis=1)
        else:
            slot = np.where(finite, len(self.domains) - 1, SOURCE)
        chosen = centres[slot]
        along = (keys * chosen).sum(axis=1) / np.maximum((chosen**2).sum(axis=1), 1e-12)
        return Recognition(slot, np.clip(along, 0, 1))

    def fits(self, key: Vector, slot: int) -> bool:
        """Whether a standardised key (C,) lies as near to a domain as that one's frames do."""
        return bool(self._distances(key)[slot] < self._near + self._spread)

    def feature_offset(self, slot: int, *, steered: bool) -> Vector | None:
        """(C,) by which the domain's features lie off the source's, as far as it is known; None for nothing."""
        domain = self.domains[slot]
        mean, frames = (domain.steered, domain.steered_frames) if steered else (domain.plain, domain.plain_frames)
        if slot == SOURCE or mean is None or not self.tells_domains:
            return None
        difference = mean - self.feature_mean
        return self._known_part(difference, difference * self._feature_scale, frames)

    def key_offset(self, slot: int) -> Vector | None:
        """(C,) by which the domain's keys lie off the source's, in their own units; None for nothing."""
        domain = self.domains[slot]
        if slot == SOURCE or not self.tells_domains:
            return None
        return self._known_part(domain.centre * self.key_std, domain.centre, domain.frames)

    def observe(self, key: Vector, features: Vector, *, steered_for: int) -> None:
        """Count one frame with new content: (C,) standardised key, (C,) features.

        Args:
            steered_for: number of the domain that the features' run was steered for; the source's for a plain run.
        """
        now, found = self._state.clock + 1, self._found_in_all
        frame = Frame(key, features, steered_for, now)
        pending = tuple(each for each in self._state.pending if now - each.seen <= _PATIENCE * self._decide)
        self._state = replace(self._state, clock=now, pending=pending)
        self._place(frame)
        unrest = self._state.unrest
        began = float(self._found_in_all > found)
        self._state = replace(self._state, unrest=unrest + (began - unrest) / _UNREST_WINDOW)

    def waits(self, key: Vector) -> bool:
        """Whether a frame with this key (C,) is counted to no domain yet."""
        return any(np.array_equal(frame.key, key) for frame in self._state.pending)

    def add_features(self, slot: int, features: Vector, *, steered: bool) -> None:
        """Count features of a frame that was counted already, from a second run of it."""
        if slot != SOURCE:
            domain = self.domains[slot].with_features(features, steered=steered, keep=self._keep)
            self._put(slot, domain)

    def counts(self) -> dict[str, int]:
        """What was found since the bank was made, for reports; a state gone back to takes none of it back."""
        return {"domains_found": self._found_in_all, "domain_switches": self._switches}

    def start_run(self) -> None:
        """Begin another stream, at the source: domains stay known, frames of the last stream wait no longer."""
        self._state = replace(self._state, current=SOURCE, pending=(), unrest=0.0)

    def snapshot(self) -> BankState:
        """All that was learned; later frames do not change it."""
        return self._state

    def restore(self, state: BankState) -> None:
        """Go back to a snapshot, bit for bit."""
        self._state = state

    def reset(self) -> None:
        """Know the source alone."""
        zero = np.zeros_like(self._key_mean)
        source = Domain(0, zero, None, None, 0, 0, 0, 0)
        self._state = BankState((source,), SOURCE, (), 0, 0, 0.0)

    def _place(self, frame: Frame) -> None:
        state = self._state
        if not self._by_key:
            self._count_to(1 if len(state.domains) > 1 else self._found(frame.key), (frame,))
            return
        nearest = int(self._distances(frame.key).argmin())
        if not state.pending and nearest == state.current and self.fits(frame.key, nearest):
            self._count_to(nearest, (frame,))
        else:
            self._wait((*state.pending, frame))

    def _wait(self, pending: tuple[Frame, ...]) -> None:
        """Count waiting frames to the known domain that their mean lies in, or to a new one; or have them wait."""
        count, centre = len(pending), _mean_key(pending)
        distances = self._distances(centre)
        nearest = int(distances.argmin())
        known = distances[nearest] < self._near + self._spread / count
        # A frame that lies well within a known domain needs no others to confirm it.
        latest = self._distances(pending[-1].key)[nearest]
        if known and (count >= self._decide or latest < self._near + 0.8 * self._spread):
            self._count_to(nearest, pending)
        elif count < self._decide:
            self._state = replace(self._state, pending=pending)
        elif len(alike := _without_outliers(pending, self._near + self._spread)) < count:
            self._wait(alike)
        else:
            self._count_to(self._found(centre), pending)

    def _count_to(self, slot: int, frames: tuple[Frame, ...]) -> None:
        # A new domain may have taken the slot of the one at hand.
        self._switches += int(slot != self._state.current or (slot != SOURCE and not self.domains[slot].frames))
        now = self._state.clock
        for frame in frames if slot != SOURCE else ():
            self._put(slot, self.domains[slot].with_frame(frame, keep=self._keep, now=now))
        self._state = replace(self._state, current=slot, pending=())

    def _found(self, centre: Vector) -> int:
        """Slot of a new domain, empty yet."""
        state = self._state
        found = Domain(state.found + 1, centre, None, None, 0, 0, 0, state.clock)
        self._state = replace(state, found=state.found + 1)
        self._found_in_all += 1
        if len(state.domains) <= self._most:
            self._state = replace(self._state, domains=(*state.domains, found))
            return len(state.domains)
        slot = 1 + int(np.argmin([domain.last_seen for domain in state.domains[1:]]))
        self._put(slot, found)
        return slot

    def _put(self, slot: int, domain: Domain) -> None:
        domains = self._state.domains
        self._state = replace(self._state, domains=(*domains[:slot], domain, *domains[slot + 1 :]))

    def _distances(self, key: Vector) -> Vector:
        """Mean squared difference of a key to each domain's centre."""
        distances: Vector = np.array([np.mean((key - domain.centre) ** 2) for domain in self.domains])
        return distances

    def _known_part(self, difference: Vector, standardised: Vector, frames: int) -> Vector | None:
        # A mean that forgets stands for (1 + keep) / (1 - keep) frames at most.
        variance = max(1 / frames, (1 - self._keep) / (1 + self._keep)) + 1 / self._source_frames
        size = float(np.mean(standardised**2))
        share = 1 - self._caution * variance / size if size > 0 else 0.0
        return difference * share if share > 0 else None


def _mean_key(frames: tuple[Frame, ...]) -> Vector:
    mean: Vector = np.mean([frame.key for frame in frames], axis=0)
    return mean


def _without_outliers(frames: tuple[Frame, ...], limit: float) -> tuple[Frame, ...]:
    """Frames less the farthest from their mean, one after the other, while that is farther than `limit`."""
    while True:
        mean = _mean_key(frames)
        distances = [float(np.mean((frame.key - mean) ** 2)) for frame in frames]
        farthest = int(np.argmax(distances))
        if distances[farthest] <= limit:
            return frames
        frames = (*frames[:farthest], *frames[farthest + 1 :])


def _floored(std: Vector) -> Vector:
    """Spreads without zeros: a channel that never moved in the source gets a hundredth of the mean spread."""
    floor: Vector = np.maximum(std, max(0.01 * float(std.mean()), 1e-12))
    return floor


def _allowance(source_frames: int) -> float:
    """By how much farther frames of the source lie from it than if it were known by 100 images.

    A new value's expected squared distance from the mean of n others, in units of their own variance, is
    (n + 1) / (n - 3) if they are normal; three or fewer tell nothing.
    """

    def distance(count: int) -> float:
        return (count + 1) / (count - 3) if count > 3 else math.inf

    return max(1.0, distance(source_frames) / distance(100))
