"""T3A's support set."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moase_edge.adapt.sidecar import Sidecar
from moase_edge.bench.methods.losses import softmax_entropy
from moase_edge.bench.methods.t3a import SupportSet, T3a, T3aSettings, build_t3a, first_supports
from moase_edge.errors import ConfigError
from moase_edge.runtime.stages import Stages
from tests.bench.methods.subjects import PixelEngine, PixelSidecar, pixels, run, tiny_subject


def head_of(weight: Tensor) -> nn.Linear:
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False).requires_grad_(False)
    head.weight.copy_(weight)
    return head


IDENTITY = head_of(torch.eye(2))


def test_the_head_itself_is_the_first_support() -> None:
    supports = first_supports(head_of(torch.tensor([[3.0, 0.0], [0.0, 2.0]])), 20)
    assert supports.templates.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert supports.size == 2


def test_a_class_that_the_head_gives_nothing_to_has_no_template() -> None:
    # Row 1 points where row 0 does, only shorter: the head takes both for class 0.
    supports = first_supports(head_of(torch.tensor([[2.0, 0.0], [1.0, 0.0]])), 20)
    assert list(map(len, supports.entropies)) == [2, 0]
    assert supports.templates.tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_a_surer_frame_takes_the_place_of_a_less_sure_one() -> None:
    features = torch.tensor([[6.0, 8.0]])
    supports = first_supports(IDENTITY, 1).added(features, IDENTITY(features), 1)
    assert torch.allclose(supports.templates, torch.tensor([[1.0, 0.0], [0.6, 0.8]]))


def test_a_less_sure_frame_does_not_enter_a_full_class() -> None:
    features = torch.tensor([[0.1, 0.2]])
    before = first_supports(IDENTITY, 1)
    assert torch.equal(before.added(features, IDENTITY(features), 1).templates, before.templates)


def test_a_template_is_the_normalised_sum_of_unit_supports() -> None:
    features = torch.tensor([[6.0, 8.0]])
    supports = first_supports(IDENTITY, 2).added(features, IDENTITY(features), 2)
    total = torch.tensor([0.0 + 0.6, 1.0 + 0.8])
    assert torch.allclose(supports.templates[1], total / total.norm())


def test_adding_leaves_the_old_set_as_it_was() -> None:
    features = torch.tensor([[6.0, 8.0], [9.0, 1.0]])
    before = first_supports(IDENTITY, 3)
    templates = before.templates.clone()
    after = before.added(features, IDENTITY(features), 3)
    assert torch.equal(before.templates, templates)
    assert (before.size, after.size) == (2, 4)


def all_at_once(features: Tensor, logits: Tensor, kept: int) -> Tensor:
    """Templates from every support ever seen, as the published code selects them."""
    entropy, classes = softmax_entropy(logits), logits.argmax(dim=1)
    rows = []
    for k in range(logits.shape[1]):
        own = torch.nonzero(classes == k).flatten()
        best = own[entropy[own].argsort()][:kept]
        rows.append(F.normalize(F.normalize(features[best], dim=1).sum(dim=0), dim=0))
    return torch.stack(rows)


def test_batches_lead_to_the_set_that_all_frames_together_do() -> None:
    generator = torch.Generator().manual_seed(0)
    head = head_of(torch.randn(4, 6, generator=generator))
    features = 2 * torch.randn(60, 6, generator=generator)
    supports: SupportSet = first_supports(head, 5)
    for chunk in torch.split(features, 7):
        supports = supports.added(chunk, head(chunk), 5)
    together = torch.cat([head.weight, features])
    assert torch.allclose(supports.templates, all_at_once(together, head(together), 5), atol=1e-6)


def test_a_frame_is_answered_by_templates_that_it_has_adjusted() -> None:
    sidecar = cast(Sidecar, PixelSidecar(torch.eye(3)))
    method = T3a(PixelEngine(), sidecar, T3aSettings(kept=1))
    prediction = method.predict(pixels((6.0, 8.0, 0.0)), Stages())
    assert np.allclose(prediction.logits, [[6.0, 10.0, 0.0]], atol=1e-5)


def test_an_answer_that_is_not_learned_from_leaves_no_trace() -> None:
    sidecar = cast(Sidecar, PixelSidecar(torch.eye(3)))
    method, other = T3a(PixelEngine(), sidecar, T3aSettings(kept=1)), pixels((0.0, 9.0, 1.0))
    before = method.predict(other, Stages()).logits.copy()
    method.predict(pixels((6.0, 8.0, 0.0)), Stages())
    assert np.array_equal(method.predict(other, Stages()).logits, before)
    _, update = run(method, pixels((0.0, 80.0, 60.0)))
    assert update == {"supports": 3.0}
    assert not np.array_equal(method.predict(other, Stages()).logits, before)


def test_a_distilled_network_has_two_heads_and_is_refused() -> None:
    with pytest.raises(ConfigError, match="T3A needs a single linear head"):
        build_t3a(tiny_subject(distilled=True), 0)
