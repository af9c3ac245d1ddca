"""A sidecar that answers and never learns."""

from __future__ import annotations

import torch

from moase_edge.adapt.held import HeldSidecar
from tests.adapt.backbones import random_taps, sidecar_of, small_vit


def test_it_answers_as_the_sidecar_does_without_a_gradient() -> None:
    sidecar = sidecar_of(small_vit(), perturbed=True)
    taps = random_taps(sidecar)
    expected = sidecar(taps)
    held = HeldSidecar(sidecar.requires_grad_(True))
    found = held.predict(taps)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.features, expected.features)
    assert not found.logits.requires_grad
    assert not any(weight.requires_grad for weight in held.teacher.parameters())
