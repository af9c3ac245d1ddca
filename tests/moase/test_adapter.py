"""The adapter as a whole, whatever its preset."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from moase_edge.errors import ConfigError
from moase_edge.moase.adapter import MoaseAdapter, adapters_of
from tests.moase.adapters import adapter_at, draw, gradients

OURS = ("edge", "paper")


def without_up_bias(adapter: MoaseAdapter) -> MoaseAdapter:
    with torch.no_grad():
        adapter.experts.up_bias.zero_()
    return adapter


@torch.no_grad()
def outputs_by_expert(adapter: MoaseAdapter, x: Tensor) -> list[Tensor]:
    """What each expert adds, its routing weight included: the output is linear in the up projections."""
    up = adapter.experts.up_weight
    original = up.clone()
    outputs = []
    for e in range(adapter.experts.count):
        up.zero_()[e] = original[e]
        outputs.append(adapter(x))
    up.copy_(original)
    return outputs


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("experts", [2, 4, 8])
@pytest.mark.parametrize("rank", [8, 48])
@pytest.mark.parametrize("preset", OURS)
def test_no_expert_is_dead(preset: str, rank: int, experts: int, seed: int) -> None:
    adapter = without_up_bias(adapter_at(preset, 32, experts=experts, rank=rank, seed=seed))
    x = draw(2, 4, 32, seed=seed + 100)
    outputs = outputs_by_expert(adapter, x)
    torch.testing.assert_close(sum(outputs), adapter(x), rtol=1e-5, atol=1e-5)
    found = gradients(adapter, x)
    for e, output in enumerate(outputs):
        assert float(output.abs().max()) > 1e-3, f"expert {e} adds nothing"
        for name in ("down_weight", "down_bias", "up_weight", "up_bias"):
            assert float(found[f"experts.{name}"][e].abs().max()) > 1e-4, f"{name} of expert {e} has no gradient"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_edge_teaches_both_gates_and_paper_the_router_alone(seed: int) -> None:
    x = draw(2, 9, 32, seed=seed)
    edge, paper = (gradients(adapter_at(preset, 32, seed=seed), x) for preset in OURS)
    for found in (edge, paper):
        assert float(found["dag.weight"].abs().max()) > 1e-3
    assert float(edge["asg.weight"].abs().max()) > 1e-3
    assert float(edge["asg.bias"].abs().max()) > 1e-3
    assert not paper["asg.weight"].any()


@pytest.mark.parametrize("preset", OURS)
def test_start_is_an_exact_identity_that_can_leave_it(preset: str) -> None:
    adapter = MoaseAdapter(32, preset=preset, generator=torch.Generator().manual_seed(0))
    x = draw(2, 5, 32)
    assert torch.equal(adapter(x), torch.zeros_like(x))
    found = gradients(adapter, x)
    # Behind zero up projections only these move in the first step, and of every expert.
    assert all(bool(found[f"experts.{name}"][e].any()) for e in range(4) for name in ("up_weight", "up_bias"))


@pytest.mark.parametrize("preset", [*OURS, "official"])
def test_start_repeats_with_its_seed(preset: str) -> None:
    first, second, other = (
        MoaseAdapter(16, preset=preset, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    for name, weight in first.named_parameters():
        assert torch.equal(weight, second.get_parameter(name))
    assert not torch.equal(first.experts.down_weight, other.experts.down_weight)
    assert not torch.equal(first.asg.weight, other.asg.weight)


@pytest.mark.parametrize(("preset", "bias"), [("edge", False), ("paper", False), ("official", True)])
def test_only_the_official_router_has_a_bias(preset: str, bias: bool) -> None:
    assert (MoaseAdapter(8, preset=preset).dag.bias is not None) == bias


def test_unknown_preset_is_refused_with_the_right_names() -> None:
    with pytest.raises(ConfigError, match=r"'papr'.*edge, paper, official"):
        MoaseAdapter(8, preset="papr")


def test_adapters_are_found_in_the_order_of_their_blocks() -> None:
    adapters = [MoaseAdapter(8) for _ in range(3)]
    network = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), adapter) for adapter in adapters))
    assert list(adapters_of(network)) == adapters
