"""The student's view where frames themselves are augmented: one more engine run for each update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from moase_edge.adapt.sidecar import Taps
from moase_edge.moase.augment_frames import Strengths, augment_frames
from moase_edge.moase.choice import choose
from moase_edge.moase.policy import Action, AugmentPolicy, reward_of


@dataclass(frozen=True, slots=True)
class Rerun:
    """The frames of a batch and the engine's taps of any frames like them.

    Attributes:
        frames: (B, 3, H, W) preprocessed; left as they are.
        taps_of: runs the engine.
    """

    frames: NDArray[np.float32]
    taps_of: Callable[[NDArray[np.float32]], Taps]


class AugmentedFrames:
    """Chooses how strongly to augment, and learns from what came of it.

    The teacher's answer is to the frames as they are. In MoASE++ the teacher sees the augmented frames too, and as
    both start equal there is no gradient; here there is one from the first step, and no second run of the teacher.

    Args:
        bound: largest strength, 0..1; each frame's own change is drawn up to its strength, either way.
        policy: learned, or None, which always asks for the bound.
    """

    def __init__(self, bound: float, policy: AugmentPolicy | None) -> None:
        self.policy = policy
        self._bound = bound
        self._action: Action | None = None

    def taps(self, rerun: Rerun, answer: Tensor, generator: torch.Generator) -> Taps:
        """Taps of the augmented frames.

        Args:
            answer: (B, K), logits of the teacher, which the policy goes by.
            generator: on the CPU.
        """
        self._action = None if self.policy is None else _draw(self.policy, answer, generator)
        chosen = (1.0, 1.0, 1.0) if self._action is None else self._action.strengths
        strengths = Strengths(*(self._bound * strength for strength in chosen))
        return rerun.taps_of(augment_frames(torch.from_numpy(rerun.frames), strengths, generator).numpy())

    def learn(self, objective: float) -> None:
        """Tell the policy what the objectives came to on the frames that were drawn last: less is better.

        With `reverse-kl` alone that is the reward of MoASE++. Strengths count as drawn, before the bound.
        """
        if self.policy is not None and self._action is not None:
            self.policy.learn(self._action, reward_of(objective, self._action.strengths))


def _draw(policy: AugmentPolicy, logits: Tensor, generator: torch.Generator) -> Action:
    p, log_p = F.softmax(logits, dim=-1), F.log_softmax(logits, dim=-1)
    entropy, confidence = -(p * log_p).sum(dim=-1).mean(), p.amax(dim=-1).mean()
    return policy.draw(float(entropy), float(confidence), generator)


def augmented_frames(view: str, bound: float, policy: str, *, seed: int) -> AugmentedFrames | None:
    """For the view `augmented-frame`, with a policy that is "fixed" or "learned"; None for any other view."""
    if view != "augmented-frame":
        return None
    return AugmentedFrames(bound, choose("augmentation policy", POLICIES, policy)(seed))


def _learned(seed: int) -> AugmentPolicy:
    return AugmentPolicy(torch.Generator().manual_seed(seed))


def _fixed(_seed: int) -> None:
    return None


POLICIES: dict[str, Callable[[int], AugmentPolicy | None]] = {"fixed": _fixed, "learned": _learned}
