"""What follows the frozen backbone with what was learned in it, as modules that can be exported."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.adapt.sidecar import Sidecar, Taps
from moase_edge.adapt.tracker import FixedCorrection


class Recognise(nn.Module):
    """From a frame's key to what is done about its domain, as `DomainBank.recognise` tells it, in float32."""

    def __init__(self, fixed: FixedCorrection) -> None:
        super().__init__()
        for name in ("key_mean", "key_scale", "centres", "offsets", "shifts"):
            self.register_buffer(name, _float32(getattr(fixed, name)))
        self.register_buffer("sizes", _float32((fixed.centres**2).sum(axis=1)))
        self._by_key, self._last = fixed.block is not None, len(fixed.centres) - 1

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C) -> what to take off the features (B, C), and what to add to the tokens (B, C)."""
        keys = (raw - self.key_mean) * self.key_scale  # type: ignore[operator]
        slot = self._slots(keys)
        chosen = self.centres[slot]  # type: ignore[index]
        share = (keys * chosen).sum(dim=1) / self.sizes[slot].clamp(min=1e-12)  # type: ignore[index]
        offset = share.clamp(0, 1)[:, None] * self.offsets[slot]  # type: ignore[index]
        return offset, self.shifts[slot]  # type: ignore[index]

    def _slots(self, keys: Tensor) -> Tensor:
        if not self._by_key:
            return torch.full_like(keys[:, 0], self._last, dtype=torch.int64)
        distances: Tensor = self.sizes - 2 * keys @ self.centres.T  # type: ignore[operator]
        return distances.argmin(dim=1)


class CorrectedAnswer(nn.Module):
    """From the taps to the logits, with an offset of the features (B, C) that came with them, or none."""

    def __init__(self, sidecar: Sidecar) -> None:
        super().__init__()
        self.sidecar = sidecar

    def forward(self, mid: Tensor, out: Tensor, offset: Tensor) -> Tensor:
        """(B, P, C), (B, P, C), (B, C) -> (B, K)."""
        pooled = self.sidecar(Taps(mid, out)).pooled
        logits: Tensor = self.sidecar.classify(pooled - offset[:, None]).logits
        return logits


class CorrectedByFeatures(nn.Module):
    """The same where a frame's features are its key, or nothing is corrected."""

    def __init__(self, sidecar: Sidecar, fixed: FixedCorrection | None) -> None:
        super().__init__()
        self.sidecar = sidecar
        self.recognise = None if fixed is None else Recognise(fixed)

    def forward(self, mid: Tensor, out: Tensor) -> Tensor:
        """(B, P, C), (B, P, C) -> (B, K)."""
        views = self.sidecar(Taps(mid, out))
        if self.recognise is not None:
            offset, _ = self.recognise(views.pooled.mean(dim=1))
            views = self.sidecar.classify(views.pooled - offset[:, None])
        logits: Tensor = views.logits
        return logits


def _float32(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
