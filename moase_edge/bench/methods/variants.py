"""Variants of MoASE that experiments compare: without a part, of other sizes, in other places.

All learn by alignment with source features (moase/objectives/alignment.py): with a frozen backbone the published
loss has no gradient, whatever the parts (docs/method.md). Their rates were chosen on other corruptions than those
that experiments report (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from moase_edge.bench.methods.placed_moase import Placement, build_placed
from moase_edge.bench.methods.spec import MethodSpec, plain_moase
from moase_edge.bench.methods.split_learner import build_on_split, part_settings
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.moase import MoaseSettings

FULL = "moase"
# Chosen on shot noise, motion blur, snow, elastic transform, saturate and spatter, of photographs and of digits:
# among 0.001 to 0.03, and alpha 0.5, 0.9 and 0.99.
LEARN = part_settings("edge-learn").model_copy(update={"lr": 1e-2, "alpha": 0.5, "view": "same"})
# Without the reservoir, which holds taps of the last block.
PLACED_LEARN = LEARN.model_copy(update={"batch_from_reservoir": 0})
_WITHOUT_HP = LEARN.model_copy(update={"proximal": "none"})

PARTS: Mapping[str, tuple[MoaseSettings, AdaptSettings]] = {
    "moase-without-sdd": (MoaseSettings(without=("sdd",)), LEARN),
    "moase-without-dag": (MoaseSettings(without=("dag",)), LEARN),
    "moase-without-asg": (MoaseSettings(without=("asg",)), LEARN),
    "moase-without-hp": (MoaseSettings(), _WITHOUT_HP),
    "moase-plain": (MoaseSettings(without=("sdd", "dag", "asg")), _WITHOUT_HP),
}
# The published number, four, is FULL.
EXPERTS: Mapping[str, int] = {"moase-experts-2": 2, FULL: 4, "moase-experts-8": 8, "moase-experts-16": 16}
# What the least sparse expert of each half keeps; the published half is FULL.
SDD_SHARES: Mapping[str, float] = {
    "moase-sdd-0.125": 0.125,
    "moase-sdd-0.25": 0.25,
    FULL: 0.5,
    "moase-sdd-0.75": 0.75,
    "moase-sdd-1": 1.0,
}


def first_blocks(depth: int, *, count: int) -> Sequence[int]:
    """The first `count` of a network's blocks, or all there are."""
    return range(min(count, depth))


def last_blocks(depth: int, *, count: int) -> Sequence[int]:
    """The last `count` of a network's blocks, or all there are."""
    return range(max(0, depth - count), depth)


def every_block(depth: int) -> Sequence[int]:
    """All."""
    return range(depth)


# Where the adapters are, and what a frame costs in a network of 12 blocks: those before the first adapter once,
# those from there on for the teacher, and three times for the student's forward and backward pass.
PLACEMENTS: Mapping[str, tuple[Placement, float]] = {
    "moase-last-1": (partial(last_blocks, count=1), 1.25),
    "moase-last-2": (partial(last_blocks, count=2), 1.5),
    "moase-last-4": (partial(last_blocks, count=4), 2.0),
    "moase-first-1": (partial(first_blocks, count=1), 4.0),
    "moase-first-2": (partial(first_blocks, count=2), 4.0),
    "moase-first-4": (partial(first_blocks, count=4), 4.0),
    "moase-every": (every_block, 4.64),
}


def _on_split(name: str, moase: MoaseSettings, learn: AdaptSettings = LEARN) -> MethodSpec:
    return _spec(name, partial(build_on_split, moase=moase, adapt=learn), moase, learn, cost=1.0)


def _placed(name: str) -> MethodSpec:
    placement, cost = PLACEMENTS[name]
    build = partial(build_placed, placement=placement, moase=MoaseSettings(), settings=PLACED_LEARN)
    return _spec(name, build, MoaseSettings(), PLACED_LEARN, cost=cost, whole_network=True)


def _spec(
    name: str, build: Any, moase: MoaseSettings, learn: AdaptSettings, *, cost: float, whole_network: bool = False
) -> MethodSpec:
    return MethodSpec(
        name=name,
        build=build,
        whole_network=whole_network,
        needs_source_images=True,
        hyper_parameters=plain_moase(moase, learn),
        reference="a variant of MoASE with the alignment objective (docs/experiments.md)",
        frame_cost=cost,
    )


VARIANTS: dict[str, MethodSpec] = {
    FULL: _on_split(FULL, MoaseSettings()),
    **{name: _on_split(name, moase, learn) for name, (moase, learn) in PARTS.items()},
    **{name: _on_split(name, MoaseSettings(experts=count)) for name, count in EXPERTS.items() if name != FULL},
    **{name: _on_split(name, MoaseSettings(sdd_share=v)) for name, v in SDD_SHARES.items() if name != FULL},
    **{name: _placed(name) for name in PLACEMENTS},
}
