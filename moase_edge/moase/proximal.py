"""The homeostatic proximal (HP) loss: a pull of the student's experts toward a reference.

Published as `mu/2 * sum_e || theta_e - theta_ref_e ||` (arXiv 2405.16486), un-squared in print though it cites
FedProx, which squares. Un-squared, the gradient has a constant norm whatever the distance, far above that of a
cross-entropy, and it pins the weights; squared, it is a soft pull.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from moase_edge.moase.adapter import experts_of
from moase_edge.moase.choice import choose
from moase_edge.moase.experts import Experts

ProximalForm = Callable[[Sequence[Experts], Sequence[Experts]], Tensor]


def squared(student: Sequence[Experts], reference: Sequence[Experts]) -> Tensor:
    """Half the sum of squared differences (FedProx)."""
    pairs = zip(_tensors(student), _tensors(reference), strict=True)
    # Squared norms rather than sums of squares: the backward pass reads each weight once.
    return 0.5 * torch.stack([(a - b).norm() for a, b in pairs]).square().sum()


def expert_norm(student: Sequence[Experts], reference: Sequence[Experts]) -> Tensor:
    """Half the sum over experts of the norm over all tensors of one expert: the equation in print."""
    norms = [
        torch.cat([(a - b).flatten() for a, b in zip(s.tensors_of(e), r.tensors_of(e), strict=True)]).norm()
        for s, r in zip(student, reference, strict=True)
        for e in range(s.count)
    ]
    return 0.5 * torch.stack(norms).sum()


def tensor_norm(student: Sequence[Experts], reference: Sequence[Experts]) -> Tensor:
    """Half the sum over single tensors of the norm: the authors' code."""
    norms = [
        (a - b).norm()
        for s, r in zip(student, reference, strict=True)
        for e in range(s.count)
        for a, b in zip(s.tensors_of(e), r.tensors_of(e), strict=True)
    ]
    return 0.5 * torch.stack(norms).sum()


def _tensors(experts: Sequence[Experts]) -> chain[Tensor]:
    return chain.from_iterable(bank.parameters() for bank in experts)


PROXIMAL_FORMS: dict[str, ProximalForm] = {
    "squared": squared,
    "expert-norm": expert_norm,
    "tensor-norm": tensor_norm,
}


def pull_toward(anchor: nn.Module, student: nn.Module, *, form: str, weight: float) -> Callable[[], Tensor] | None:
    """The weighted HP term between the experts of two modules, which may both go on changing.

    Args:
        form: one of `PROXIMAL_FORMS`, or "none".

    Returns:
        What computes it, with gradients of the student's; None where there is none.

    Raises:
        ConfigError: another form.
    """
    distance = choose("form of the HP loss", {"none": None, **PROXIMAL_FORMS}, form)
    if distance is None or not weight:
        return None
    pulled, reference = experts_of(student), experts_of(anchor)
    return lambda: weight * distance(pulled, reference)
