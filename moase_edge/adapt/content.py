"""What one view of a camera shows: frames of the same content are one observation, seen again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# Frames whose mean stands for what a content began with.
_BEGINNING = 3
# Multiple of what noise alone makes of the distance to the frame before; half as much again is chance.
_LAG = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class ContentState:
    """The content at hand; features are (H, C) and centred, keys (C,) and centred.

    Attributes:
        mean, key: of its frames.
        frames: of it.
        averaged: latest frames that `mean` stands for.
        first, first_key: means of the frames that it began with.
        latest: features of its latest frame.
    """

    mean: Vector
    key: Vector
    frames: int
    averaged: int
    first: Vector
    first_key: Vector
    latest: Vector

    @classmethod
    def begun(cls, centred: Vector, key: Vector) -> ContentState:
        """A content after its first frame."""
        return cls(centred, key, 1, 1, centred, key, centred)


class ContentMemory:
    """Tells whether a frame shows new content, and averages the features of those that do not.

    A camera repeats itself: neighbouring frames are almost equal. A clock that counts frames lets one object move
    every running mean; this one counts contents. The mean over one content is less noisy than a single frame.
    Features tell classes apart, the mean token half way tells pictures apart: both must agree.

    Where the camera or the object moves, no frame differs much from the one before. Two things follow. A content
    ends where its mean has left what it began with. And a mean over n frames that differ by noise alone, of
    variance v, lies (1 + 1/n) v from the next one, which lies 2 v from the one before it; where it lies farther,
    the mean lags behind by more than averaging gains, and begins anew with the latest two frames.

    Args:
        same_content: cosine, of features and of keys with the mean of the content at hand, from which a frame
            shows the same.
        longest: frames after which the oldest begin to be forgotten.
    """

    _state: ContentState | None

    def __init__(self, *, same_content: float = 0.6, longest: int = 10) -> None:
        self._same, self._longest = same_content, longest
        self.reset()

    def see(self, centred: Vector, key: Vector) -> tuple[Vector, bool]:
        """Take in a frame: its features (H, C) and its key (C,), each less its mean over the domain.

        Returns:
            The mean of the content at hand with this frame in it, and whether the frame began a new content.
        """
        state = self._state
        if state is None or self._is_new(state, centred, key):
            self._state = ContentState.begun(centred, key)
            return centred, True
        self._state = self._after(state, centred, key)
        return self._state.mean, False

    def _is_new(self, state: ContentState, centred: Vector, key: Vector) -> bool:
        if not (self._alike(centred, state.mean) and self._alike(key, state.key)):
            return True
        moved_on = not (self._alike(state.mean, state.first) and self._alike(state.key, state.first_key))
        return state.frames >= _BEGINNING and moved_on

    def _after(self, state: ContentState, centred: Vector, key: Vector) -> ContentState:
        frames = state.frames + 1
        averaged, base = state.averaged + 1, state.mean
        if _squared(centred - state.mean) > _LAG * _squared(centred - state.latest):
            averaged, base = 2, state.latest
        first, first_key = state.first, state.first_key
        if frames <= _BEGINNING:
            first, first_key = first + (centred - first) / frames, first_key + (key - first_key) / frames
        return ContentState(
            mean=base + (centred - base) / min(averaged, self._longest),
            key=state.key + (key - state.key) / min(frames, self._longest),
            frames=frames,
            averaged=averaged,
            first=first,
            first_key=first_key,
            latest=centred,
        )

    def _alike(self, first: Vector, second: Vector) -> bool:
        return _cosine(first, second) >= self._same

    def snapshot(self) -> ContentState | None:
        """The content at hand, None before the first frame; arrays are never written to."""
        return self._state

    def restore(self, state: ContentState | None) -> None:
        """Go back to a snapshot."""
        self._state = state

    def reset(self) -> None:
        """Forget the content at hand: whatever comes next is new."""
        self._state = None


def _cosine(first: Vector, second: Vector) -> float:
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    # Features at the source's very mean have no direction: nothing tells them from others.
    return float((first * second).sum()) / norms if norms > 0 else 1.0


def _squared(difference: Vector) -> float:
    return float((difference * difference).sum())
