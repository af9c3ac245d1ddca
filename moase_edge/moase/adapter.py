"""The MoASE adapter: its parameters, its start, and the choice of a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor, nn

from moase_edge.moase.choice import choose
from moase_edge.moase.edge import edge_forward
from moase_edge.moase.experts import Experts
from moase_edge.moase.official import official_forward
from moase_edge.moase.paper import paper_forward
from moase_edge.moase.sdd import quantiles, rank_signs

FORWARDS: dict[str, Callable[[MoaseAdapter, Tensor], Tensor]] = {
    "edge": edge_forward,
    "paper": paper_forward,
    "official": official_forward,
}

# What the forward pass does without each.
PARTS = {"sdd": "no mask", "dag": "routing from the whole input", "asg": "thresholds that do not move"}

GATE_STD = 0.02
OFFICIAL_UP_STD = 0.02


class MoaseAdapter(nn.Module):
    """A mixture of activation-sparsity experts beside an MLP (arXiv 2405.16486).

    Reads the residual stream after attention, un-normalised, and returns what is added to it.
    The default start is an exact identity: the up projections are zero, so the output is zero.

    Attributes:
        experts: the E bottlenecks, C -> R -> C.
        dag: domain-aware gate, C -> E, routing weights.
        asg: activation sparsity gate, C -> E, how far each expert's threshold moves.
        without: names of PARTS that the forward pass leaves out; their parameters stay, and get no gradient.

    Raises:
        ConfigError: no such preset or part.
    """

    def __init__(
        self,
        channels: int,
        *,
        experts: int = 4,
        rank: int = 48,
        eta: float = 0.1,
        sdd_share: float = 0.5,
        without: Collection[str] = (),
        preset: str = "edge",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self._forward = choose("preset", FORWARDS, preset)
        self.preset = preset
        self.eta = eta
        self.without = frozenset(without)
        for part in self.without:
            choose("part", PARTS, part)
        self.experts = Experts(channels, experts=experts, rank=rank)
        # The equation of the gate has no bias, the authors' code has one.
        self.dag = nn.Linear(channels, experts, bias=preset == "official")
        self.asg = nn.Linear(channels, experts)
        self.register_buffer("quantiles", quantiles(experts, share=sdd_share), persistent=False)
        self.register_buffer("rank_signs", rank_signs(experts), persistent=False)
        self.quantiles: Tensor
        self.rank_signs: Tensor
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw a fresh start. In the `official` preset the up projections are not zero: in the authors' code
        the backbone's weight initialisation overwrites them."""
        up_std = OFFICIAL_UP_STD if self.preset == "official" else 0.0
        self.experts.reset_parameters(generator, up_std=up_std)
        for gate in (self.dag, self.asg):
            nn.init.normal_(gate.weight, std=GATE_STD, generator=generator)
            if gate.bias is not None:
                nn.init.zeros_(gate.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self._forward(self, x)


def adapters_of(module: nn.Module) -> Iterator[MoaseAdapter]:
    """All MoASE adapters inside a module, in the order of its blocks."""
    return (part for part in module.modules() if isinstance(part, MoaseAdapter))


def experts_of(module: nn.Module) -> list[Experts]:
    """The experts of every adapter inside a module, in order."""
    return [adapter.experts for adapter in adapters_of(module)]
