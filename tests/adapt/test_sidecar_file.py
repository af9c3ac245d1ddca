"""The sidecar's source state: how it is made, written and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from moase_edge.adapt.sidecar import load_sidecar, new_sidecar, save_sidecar
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import ArtifactError, StorageError
from moase_edge.models.split import sidecar_spec, sidecar_state
from tests.adapt.backbones import random_taps, sidecar_of, small_vit

MOASE = MoaseSettings(rank=8)


@pytest.mark.parametrize("options", [{}, {"distilled": True}, {"global_pool": "map"}, {"num_classes": 0}])
def test_round_trip_is_bit_exact(tmp_path: Path, options: dict[str, Any]) -> None:
    sidecar = sidecar_of(small_vit(**options), 2, perturbed=True)
    save_sidecar(sidecar, tmp_path / "sidecar.safetensors")
    loaded = load_sidecar(tmp_path / "sidecar.safetensors", sidecar.spec, MOASE)
    assert loaded.state_dict().keys() == sidecar.state_dict().keys()
    for name, tensor in sidecar.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    taps = random_taps(sidecar)
    assert torch.equal(loaded(taps).logits, sidecar(taps).logits)


def test_loaded_sidecar_is_frozen_and_in_evaluation_mode(tmp_path: Path) -> None:
    sidecar = sidecar_of(small_vit())
    save_sidecar(sidecar, tmp_path / "sidecar.safetensors")
    loaded = load_sidecar(tmp_path / "sidecar.safetensors", sidecar.spec, MOASE)
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _overwrite_header(path: Path) -> None:
    path.write_bytes(b"\xff" * 64 + path.read_bytes()[64:])


@pytest.mark.parametrize("damage", [_empty, _cut, _overwrite_header, Path.unlink])
def test_damaged_or_missing_file_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    sidecar, path = sidecar_of(small_vit()), tmp_path / "sidecar.safetensors"
    save_sidecar(sidecar, path)
    damage(path)
    with pytest.raises(ArtifactError, match=r"sidecar\.safetensors.*Export again"):
        load_sidecar(path, sidecar.spec, MOASE)


def test_file_of_another_sidecar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.safetensors"
    save_sidecar(sidecar_of(small_vit()), path)
    for other in (sidecar_of(small_vit(), 2), sidecar_of(small_vit(num_classes=7))):
        with pytest.raises(ArtifactError, match="does not hold this sidecar"):
            load_sidecar(path, other.spec, MOASE)
    with pytest.raises(ArtifactError, match="does not hold this sidecar"):
        load_sidecar(path, sidecar_of(small_vit()).spec, MoaseSettings(rank=9))


def test_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        save_sidecar(sidecar_of(small_vit()), tmp_path / "missing" / "sidecar.safetensors")


def test_adapters_repeat_with_their_seed() -> None:
    model = small_vit()
    spec, frozen = sidecar_spec(model, MOASE, 1), sidecar_state(model, 1)
    first, second, other = (
        new_sidecar(spec, MOASE, frozen, seed=seed).get_parameter("adapters.0.experts.down_weight")
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_frozen_weights_that_do_not_fit_are_named() -> None:
    model = small_vit()
    spec, frozen = sidecar_spec(model, MOASE, 1), sidecar_state(model, 1)
    with pytest.raises(KeyError, match=r"missing \['head\.bias'\]"):
        new_sidecar(spec, MOASE, {name: tensor for name, tensor in frozen.items() if name != "head.bias"}, seed=0)
    with pytest.raises(KeyError, match=r"unknown \['tail'\]"):
        new_sidecar(spec, MOASE, {**frozen, "tail": torch.zeros(1)}, seed=0)
