"""Answers of a network, for the tests of this folder."""

from __future__ import annotations

import torch
from torch import Tensor

from moase_edge.moase.objectives import Views


def views(logits: Tensor) -> Views:
    """Logits without features."""
    return Views(logits=logits, features=torch.zeros(len(logits), 1))


def features(values: Tensor) -> Views:
    """Features (B, C) without logits."""
    return Views(logits=torch.zeros(len(values), 2), features=values)
