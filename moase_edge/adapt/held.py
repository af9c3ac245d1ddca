"""A sidecar that answers and never learns, where a learner stands otherwise."""

from __future__ import annotations

from typing import cast

import torch

from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.moase.objectives import Views


class HeldSidecar:
    """Answers from the sidecar's source state.

    Attributes:
        teacher: the sidecar.
    """

    def __init__(self, sidecar: Sidecar) -> None:
        self.teacher = sidecar.requires_grad_(False)

    @torch.no_grad()
    def predict(self, taps: Taps) -> Views:
        """Logits (B, K), features (B, C) and what the head reads (B, H, C)."""
        return cast(Views, self.teacher(taps))
