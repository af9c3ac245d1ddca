"""A batch that a whole network has answered and may learn from: the forward pass is the same for both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from moase_edge.runtime.method import Prediction
from moase_edge.runtime.stages import Stages

NON_FINITE = "non-finite loss"


@dataclass(frozen=True, slots=True)
class Answered:
    """Frames, their logits with the graph behind them, and after how many steps they were answered."""

    frames: Tensor
    logits: Tensor
    step: int


def answer(network: nn.Module, images: NDArray[np.float32], step: int, stages: Stages) -> Prediction:
    """One forward pass, scored as it is, kept for learning: (B, 3, H, W) -> logits (B, K)."""
    frames = torch.from_numpy(images)
    with stages.timed("engine"), torch.enable_grad():
        logits = network(frames)
    return whole_network_prediction(logits, Answered(frames, logits, step))


def whole_network_prediction(
    logits: Tensor, memory: object, frozen: NDArray[np.float32] | None = None
) -> Prediction:
    """Logits (B, K) of adapted weights as a prediction."""
    return Prediction(logits.detach().numpy(), frozen, np.ones(len(logits), dtype=bool), memory)


def logits_to_learn_from(network: nn.Module, batch: Answered, step: int) -> Tensor:
    """The logits of the answer, or new ones where the weights have moved since: their graph is no longer valid."""
    return batch.logits if batch.step == step else network(batch.frames)


def all_finite(values: Tensor, failures: dict[str, int]) -> bool:
    """Whether a batch can be learned from; counted where it cannot, so that no weight becomes NaN."""
    if bool(torch.isfinite(values).all()):
        return True
    count_non_finite(failures)
    return False


def count_non_finite(failures: dict[str, int]) -> None:
    """Once more nothing was learned, because the step would not have been finite."""
    failures[NON_FINITE] = failures.get(NON_FINITE, 0) + 1


def take_step(optimizer: Optimizer, lr: float) -> None:
    """A step with this learning rate; gradients are cleared."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
