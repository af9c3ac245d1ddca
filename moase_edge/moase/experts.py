"""The experts of an adapter: E bottlenecks whose projections are stored fused."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Experts(nn.Module):
    """E bottlenecks `up_e(mask_e * act(down_e(x)))`, C -> R -> C.

    One layout for all presets. The down projections lie side by side, so that `edge` computes them as one
    product; each expert's slice is a view of it.

    Attributes:
        down_weight: (E, R, C).
        down_bias: (E, R).
        up_weight: (E, R, C).
        up_bias: (E, C).
    """

    def __init__(self, channels: int, *, experts: int, rank: int) -> None:
        super().__init__()
        self.down_weight = nn.Parameter(torch.zeros(experts, rank, channels))
        self.down_bias = nn.Parameter(torch.zeros(experts, rank))
        self.up_weight = nn.Parameter(torch.zeros(experts, rank, channels))
        self.up_bias = nn.Parameter(torch.zeros(experts, channels))

    def reset_parameters(self, generator: torch.Generator | None, *, up_std: float) -> None:
        """Kaiming-uniform down projections, normal up projections (zero where `up_std` is 0)."""
        bound = self.channels**-0.5
        nn.init.uniform_(self.down_weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.down_bias)
        nn.init.normal_(self.up_weight, std=up_std, generator=generator)
        nn.init.zeros_(self.up_bias)

    @property
    def count(self) -> int:
        """E."""
        return self.down_weight.shape[0]

    @property
    def rank(self) -> int:
        """R."""
        return self.down_weight.shape[1]

    @property
    def channels(self) -> int:
        """C."""
        return self.down_weight.shape[2]

    def project_down(self, x: Tensor) -> Tensor:
        """All pre-activations in one product: (B, N, C) -> (B, N, E, R)."""
        weight = self.down_weight.flatten(0, 1)
        pre = nn.functional.linear(x, weight, self.down_bias.flatten())
        return pre.reshape(*x.shape[:-1], self.count, self.rank)

    def project_up(self, hidden: Tensor, gate: Tensor) -> Tensor:
        """The gated sum over experts in one product: `sum_e g_e * (h_e U_e + u_e)`.

        Args:
            hidden: (B, N, E, R).
            gate: (B, N, E), routing weights.

        Returns:
            (B, N, C).
        """
        gated = (hidden * gate.unsqueeze(-1)).flatten(-2)
        return gated @ self.up_weight.flatten(0, 1) + gate @ self.up_bias

    def tensors_of(self, expert: int) -> Iterator[Tensor]:
        """The four parameter tensors of one expert, as views."""
        return (tensor[expert] for tensor in self.parameters())
