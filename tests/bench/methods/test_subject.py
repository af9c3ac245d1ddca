"""What a subject hands out, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moase_edge.bench.subject import BorrowedEngine, Subject
from moase_edge.config.moase import MoaseSettings
from moase_edge.engines.pytorch import TorchEngine
from moase_edge.errors import ConfigError, EngineError
from moase_edge.models.split import FrozenBackbone, sidecar_spec
from tests.bench.methods.subjects import DEPTH, PixelEngine, frames, tiny_backbone, tiny_subject, weights_of


def edge_subject() -> Subject:
    """A subject whose engine hands over the class token alone, as a shipped artifact's does."""
    backbone = tiny_backbone()
    spec = sidecar_spec(backbone.model, MoaseSettings(), 1)
    return Subject(backbone, TorchEngine(FrozenBackbone(backbone.model, spec), ("mid", "out", "logits")))


def test_networks_share_no_weight_with_the_backbone() -> None:
    subject = tiny_subject()
    before = weights_of(subject.backbone.model)
    network = subject.network()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1.0)
    assert all(torch.equal(before[name], value) for name, value in subject.backbone.model.state_dict().items())


def test_sidecars_share_no_weight_with_the_backbone() -> None:
    subject = tiny_subject()
    before = weights_of(subject.backbone.model)
    with torch.no_grad():
        for weight in subject.sidecar(subject.moase, seed=0).parameters():
            weight.add_(1.0)
    assert all(torch.equal(before[name], value) for name, value in subject.backbone.model.state_dict().items())


@pytest.mark.parametrize("adapt_blocks", [1, 2])
@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_the_frozen_sidecar_answers_as_the_network_does(adapt_blocks: int, pooling: str) -> None:
    arguments = {"global_pool": pooling, "class_token": True, "fc_norm": False}
    subject = Subject.in_torch(tiny_backbone(**arguments), adapt_blocks=adapt_blocks)
    sidecar, images = subject.frozen_sidecar(), frames(3)
    outputs = subject.engine_for(sidecar).run(images)
    from moase_edge.adapt.sidecar import Taps

    with torch.no_grad():
        views = sidecar(Taps(torch.from_numpy(outputs["mid"]), torch.from_numpy(outputs["out"])))
        expected = subject.network()(torch.from_numpy(images))
    assert torch.allclose(views.logits, expected, atol=1e-5)


def test_taps_are_cut_to_what_a_sidecar_reads() -> None:
    subject = tiny_subject()
    few, all_ = subject.frozen_sidecar(), subject.sidecar(MoaseSettings(preset="paper"), seed=0)
    assert subject.engine_for(few).run(frames(2))["mid"].shape == (2, 1, 16)
    assert subject.engine_for(all_).run(frames(2))["mid"].shape == (2, 5, 16)


def test_an_engine_with_too_few_tokens_is_refused_for_a_preset_that_looks_at_all() -> None:
    subject = edge_subject()
    subject.engine_for(subject.frozen_sidecar())
    with pytest.raises(ConfigError, match=r"the paper preset looks at 5 tokens of a block.*hands over 1"):
        subject.engine_for(subject.sidecar(MoaseSettings(preset="paper"), seed=0))


def test_a_subject_that_can_be_steered_hands_on_shifts_and_token_means() -> None:
    unsteered, subject = (Subject.in_torch(tiny_backbone(), steer=steer) for steer in (False, True))
    engine, shift = subject.engine_for(subject.frozen_sidecar()), np.ones((2, DEPTH, 16), np.float32)
    shift[:, :, ::2] = -1
    plain, steered = engine.run(frames(2)), engine.run(frames(2), shift)
    assert plain["token_means"].shape == (2, DEPTH, 16)
    assert plain["mid"].shape == (2, 1, 16)
    np.testing.assert_array_equal(plain["logits"], unsteered.engine.run(frames(2))["logits"])
    assert np.abs(steered["logits"] - plain["logits"]).max() > 1e-2


def test_a_subject_that_cannot_be_steered_refuses_a_shift() -> None:
    subject = tiny_subject()
    with pytest.raises(EngineError, match="takes no shift"):
        subject.engine_for(subject.frozen_sidecar()).run(frames(2), np.zeros((2, DEPTH, 16), np.float32))


def test_a_borrowed_engine_stays_open() -> None:
    engine = PixelEngine()
    BorrowedEngine(engine, 1).close()
    assert not engine.closed


def test_a_network_without_a_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="tiny has no head"):
        Subject.in_torch(tiny_backbone(num_classes=0))


@pytest.mark.parametrize(
    ("images", "fault"),
    [
        (frames(2).astype(np.float64), "type float64"),
        (frames(2)[:, :2], r"shape \(2, 2, 32, 32\)"),
        (frames(2)[0], r"shape \(3, 32, 32\)"),
        (frames(2)[:0], r"n of at least 1"),
        (np.full((1, 3, 32, 32), np.inf, dtype=np.float32), "not finite"),
    ],
)
def test_source_images_of_another_form_are_refused(images: np.ndarray, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Subject.in_torch(tiny_backbone(), source_images=images)
