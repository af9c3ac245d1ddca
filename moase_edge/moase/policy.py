"""The learned augmentation policy of MoASE++ (arXiv 2605.17743): how strongly to augment, given how sure one is.

A Gaussian over three latents, whose mean a small network (2-32-32-3) computes from a batch's entropy and
confidence; a strength is a latent squashed to 0..1. REINFORCE makes strengths likelier whose reward lies above the
running mean of rewards. As in the authors' code (RoyZry98/MoASE-Pytorch @ 67e7947), the spread of each latent is
one learned number whatever the state: the entropy bonus acts on it alone, and keeps it from closing too soon.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from moase_edge.moase.augment_frames import Strengths

HIDDEN = 32
START_STD = 0.5
STRENGTH_PENALTY = 0.1


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy drew.

    Attributes:
        state: (2,), entropy and confidence that it was drawn for.
        latent: (3,), the draw itself.
    """

    state: Tensor
    latent: Tensor

    @property
    def strengths(self) -> Strengths:
        """The draw, squashed: `(1 + tanh z) / 2`."""
        return Strengths(*(0.5 * (1 + self.latent.tanh())).tolist())


@dataclass(frozen=True, slots=True)
class PolicyState:
    """A copy of what a policy has learned; later steps do not change it."""

    weights: list[Tensor]
    optimizer: dict[int, Any]
    baseline: float


class AugmentPolicy:
    """Draws strengths and learns from rewards.

    Args:
        generator: of the start, on the CPU.
        lr: of Adam.
        decay: share of the running mean of rewards, the baseline, that stays; it starts at 0.
        entropy_bonus: weight of the Gaussian's entropy, in nats.
    """

    def __init__(
        self, generator: torch.Generator, *, lr: float = 1e-4, decay: float = 0.9, entropy_bonus: float = 1e-3
    ) -> None:
        self._mean = nn.Sequential(
            nn.Linear(2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 3)
        )
        self._log_std = nn.Parameter(torch.full((3,), math.log(START_STD)))
        for weight in self._mean.parameters():
            _initialise(weight, generator)
        self._weights: list[Tensor] = [*self._mean.parameters(), self._log_std]
        self._start = [weight.detach().clone() for weight in self._weights]
        self._optimizer = torch.optim.Adam(self._weights, lr=lr)
        self._decay, self._entropy_bonus = decay, entropy_bonus
        self.baseline = 0.0

    @torch.no_grad()
    def draw(self, entropy: float, confidence: float, generator: torch.Generator) -> Action:
        """Draw for a batch.

        Args:
            entropy: mean of its answers, in nats.
            confidence: mean of its largest probabilities, 0..1.
            generator: on the CPU.
        """
        state = torch.tensor([entropy, confidence])
        noise = torch.randn(3, generator=generator)
        return Action(state, self._mean(state) + self._log_std.exp() * noise)

    @torch.enable_grad()
    def learn(self, action: Action, reward: float) -> None:
        """One step of REINFORCE: `-(reward - baseline) log p(action) - bonus * entropy`, then the baseline's."""
        # The Gaussian's log p and entropy, without the terms that depend on no weight (the squashing's is one).
        log_std = self._log_std.sum()
        deviation = (action.latent - self._mean(action.state)) / self._log_std.exp()
        log_p = -0.5 * deviation.square().sum() - log_std
        loss = -(reward - self.baseline) * log_p - self._entropy_bonus * log_std
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.baseline = self._decay * self.baseline + (1 - self._decay) * reward

    def snapshot(self) -> PolicyState:
        """A copy of everything that was learned."""
        return PolicyState(
            weights=[weight.detach().clone() for weight in self._weights],
            optimizer=copy.deepcopy(self._optimizer.state_dict()["state"]),
            baseline=self.baseline,
        )

    @torch.no_grad()
    def restore(self, state: PolicyState) -> None:
        """Go back to a snapshot, bit for bit; the learning rate stays this policy's own."""
        torch._foreach_copy_(self._weights, state.weights)
        moments, settings = copy.deepcopy(state.optimizer), self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": settings})
        self.baseline = state.baseline

    def reset(self) -> None:
        """Go back to the start, bit for bit."""
        self.restore(PolicyState(self._start, {}, 0.0))


def reward_of(divergence: float, strengths: Strengths) -> float:
    """`-KL - 0.1 * mean(a^2)`: agreement at little strength.

    Args:
        divergence: of student and teacher on the augmented frames, in nats.
    """
    return -divergence - STRENGTH_PENALTY * sum(strength**2 for strength in strengths) / len(strengths)


@torch.no_grad()
def _initialise(weight: Tensor, generator: torch.Generator) -> None:
    """Kaiming-uniform matrices, biases of 0."""
    if weight.ndim == 1:
        nn.init.zeros_(weight)
    else:
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
