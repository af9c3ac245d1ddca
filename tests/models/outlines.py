"""timm models without memory for their weights, and what tells weights apart."""

from __future__ import annotations

import hashlib
from typing import Any

import timm
import torch
from torch import nn


def outline(name: str, **arguments: Any) -> nn.Module:
    """Build a timm model on the meta device: quick at any size, good for its structure alone."""
    with torch.device("meta"):
        model: nn.Module = timm.create_model(name, **arguments)
    return model


def digest(model: nn.Module) -> str:
    """sha256 of all weights, in the model's order."""
    content = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    return hashlib.sha256(content).hexdigest()
