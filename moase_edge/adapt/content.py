"""What one view of a camera shows: frames of the same content are one observation, seen again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ContentState:
    """The content at hand.

    Attributes:
        mean: (H, C) of its frames' centred features; None before the first frame.
        key: (C,) mean of its frames' centred keys.
        frames: of it.
    """

    mean: Vector | None
    key: Vector | None
    frames: int


class ContentMemory:
    """Tells whether a frame shows new content, and averages the features of those that do not.

    A camera repeats itself: neighbouring frames are almost equal. A clock that counts frames lets one object move
    every running mean; this one counts contents. The mean over one content is less noisy than a single frame.
    Features tell classes apart, the mean token half way tells pictures apart: both must agree.

    Args:
        same_content: cosine, of features and of keys with the mean of the content at hand, from which a frame
            shows the same.
        longest: frames after which the oldest begin to be forgotten.
    """

    _state: ContentState

    def __init__(self, *, same_content: float = 0.6, longest: int = 10) -> None:
        self._same, self._longest = same_content, longest
        self.reset()

    def see(self, centred: Vector, key: Vector) -> tuple[Vector, bool]:
        """Take in a frame: its features (H, C) and its key (C,), each less its mean over the domain.

        Returns:
            The mean of the content at hand with this frame in it, and whether the frame began a new content.
        """
        mean, mean_key, frames = self._state.mean, self._state.key, self._state.frames
        if mean is None or mean_key is None or not (self._alike(centred, mean) and self._alike(key, mean_key)):
            self._state = ContentState(centred, key, 1)
            return centred, True
        frames += 1
        weight = 1 / min(frames, self._longest)
        mean = mean + weight * (centred - mean)
        self._state = ContentState(mean, mean_key + weight * (key - mean_key), frames)
        return mean, False

    def _alike(self, first: Vector, second: Vector) -> bool:
        return _cosine(first, second) >= self._same

    def snapshot(self) -> ContentState:
        """The content at hand; arrays are never written to."""
        return self._state

    def restore(self, state: ContentState) -> None:
        """Go back to a snapshot."""
        self._state = state

    def reset(self) -> None:
        """Forget the content at hand: whatever comes next is new."""
        self._state = ContentState(None, None, 0)


def _cosine(first: Vector, second: Vector) -> float:
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    # Features at the source's very mean have no direction: nothing tells them from others.
    return float((first * second).sum()) / norms if norms > 0 else 1.0
