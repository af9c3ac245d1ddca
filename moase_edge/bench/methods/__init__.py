"""The baselines, each as published, behind one interface (see docs/baselines.md)."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from functools import partial

from moase_edge.bench.latency_aware import FRAME_COSTS
from moase_edge.bench.methods import (
    batch_statistics,
    cotta,
    eata,
    full_network,
    lame,
    moase_plus_plus,
    recentre,
    roid,
    sar,
    source,
    split_learner,
    t3a,
    tent,
)
from moase_edge.bench.methods.spec import MethodSpec, plain_moase
from moase_edge.bench.methods.variants import VARIANTS
from moase_edge.bench.subject import Subject
from moase_edge.config.adapt import ADAPT_PRESETS
from moase_edge.config.moase import MoaseSettings
from moase_edge.errors import ConfigError
from moase_edge.runtime.method import Method

_MOASE = "Zhang et al., MoASE, arXiv 2405.16486"
_OFFICIAL = f"{_MOASE}; code RoyZry98/MoASE-Pytorch"

_SPECS = (
    MethodSpec(
        name="source",
        build=source.build_source,
        hyper_parameters={},
        reference="the frozen model",
    ),
    MethodSpec(
        name="batch-statistics",
        build=batch_statistics.build_batch_statistics,
        whole_network=True,
        hyper_parameters=asdict(batch_statistics.BatchStatisticsSettings()),
        reference="Schneider et al., arXiv 2006.16971; Nado et al., arXiv 2006.10963",
        needs_batch_norm=True,
    ),
    MethodSpec(
        name="recentre-0.9",
        build=recentre.build_fast,
        needs_source_images=True,
        hyper_parameters=asdict(recentre.RecentreSettings(recentre.FAST)),
        reference="after Murphy et al., NEO, ICLR 2026; code awesomealex1/NEO",
    ),
    MethodSpec(
        name="recentre-0.995",
        build=recentre.build_slow,
        needs_source_images=True,
        hyper_parameters=asdict(recentre.RecentreSettings(recentre.SLOW)),
        reference="after Murphy et al., NEO, ICLR 2026; the momentum is ours",
    ),
    MethodSpec(
        name="t3a",
        build=t3a.build_t3a,
        hyper_parameters=asdict(t3a.T3aSettings()),
        reference="Iwasawa and Matsuo, T3A, NeurIPS 2021; code matsuolab/T3A",
    ),
    MethodSpec(
        name="lame",
        build=lame.build_lame,
        hyper_parameters=asdict(lame.LameSettings()),
        reference="Boudiaf et al., LAME, arXiv 2201.05718; code fiveai/LAME",
    ),
    MethodSpec(
        name="tent",
        build=tent.build_tent,
        whole_network=True,
        hyper_parameters=asdict(tent.PAPER),
        reference="Wang et al., TENT, arXiv 2006.10726; code DequanWang/tent",
    ),
    MethodSpec(
        name="tent-scaled",
        build=tent.build_scaled,
        whole_network=True,
        hyper_parameters=asdict(tent.SCALED),
        reference="Wang et al., TENT, arXiv 2006.10726; learning rate of mr-eggplant/SAR",
    ),
    MethodSpec(
        name="sar",
        build=sar.build_sar,
        whole_network=True,
        hyper_parameters=asdict(sar.SarSettings()),
        reference="Niu et al., SAR, arXiv 2302.12400; code mr-eggplant/SAR",
    ),
    MethodSpec(
        name="eata",
        build=eata.build_eata,
        whole_network=True,
        needs_source_images=True,
        hyper_parameters={
            **asdict(eata.IMAGENET),
            "up_to_100_classes": asdict(eata.CIFAR100),
            "up_to_10_classes": asdict(eata.CIFAR10),
        },
        reference="Niu et al., EATA, arXiv 2204.02610; code mr-eggplant/EATA",
    ),
    MethodSpec(
        name="cotta",
        build=cotta.build_cotta,
        whole_network=True,
        hyper_parameters=asdict(cotta.CottaSettings()),
        reference="Wang et al., CoTTA, arXiv 2203.13591; code qinenergy/cotta",
    ),
    MethodSpec(
        name="roid",
        build=roid.build_roid,
        whole_network=True,
        hyper_parameters=asdict(roid.RoidSettings()),
        reference="Marsden et al., ROID, arXiv 2306.00650; code mariodoebler/test-time-adaptation",
    ),
    MethodSpec(
        name="official",
        build=full_network.build_official,
        whole_network=True,
        hyper_parameters=plain_moase(full_network.PUBLISHED["official"], ADAPT_PRESETS["official"]),
        reference=_OFFICIAL,
    ),
    MethodSpec(
        name="paper",
        build=full_network.build_paper,
        whole_network=True,
        hyper_parameters=plain_moase(full_network.PUBLISHED["paper"], ADAPT_PRESETS["paper"]),
        reference=_MOASE,
    ),
    MethodSpec(
        name="moase++",
        build=moase_plus_plus.build_plus_plus,
        whole_network=True,
        hyper_parameters={
            **plain_moase(moase_plus_plus.MOASE, moase_plus_plus.LEARNER),
            **asdict(moase_plus_plus.PlusPlusSettings()),
        },
        reference="Zhang et al., MoASE++, arXiv 2605.17743; code RoyZry98/MoASE-Pytorch",
    ),
    MethodSpec(
        name="official-split",
        build=split_learner.build_official_split,
        hyper_parameters=plain_moase(full_network.PUBLISHED["official"], ADAPT_PRESETS["official"]),
        reference=f"{_OFFICIAL}, adapters in the last blocks alone",
    ),
    MethodSpec(
        name="paper-split",
        build=split_learner.build_paper_split,
        hyper_parameters=plain_moase(full_network.PUBLISHED["paper"], ADAPT_PRESETS["paper"]),
        reference=f"{_MOASE}, adapters in the last blocks alone",
    ),
    MethodSpec(
        name="edge",
        build=split_learner.build_edge,
        hyper_parameters=plain_moase(MoaseSettings(), ADAPT_PRESETS["edge"]),
        reference="what ships (docs/method.md)",
    ),
    *(
        MethodSpec(
            name=name,
            build=partial(split_learner.build_part, name=name),
            needs_source_images=True,
            hyper_parameters=plain_moase(MoaseSettings(), split_learner.part_settings(name)),
            reference=f"a part of what ships: {split_learner.PARTS[name].title}",
        )
        for name in split_learner.PARTS
    ),
)
METHODS: dict[str, MethodSpec] = {spec.name: spec for spec in _SPECS}


def method_spec(name: str) -> MethodSpec:
    """The method of that name, or the variant of one that an experiment compares.

    Raises:
        ConfigError: there is none; names the nearest and all.
    """
    if name in VARIANTS:
        return VARIANTS[name]
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=3, cutoff=0.6)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"no method is called {name!r}. {hint}Methods: {', '.join(METHODS)}.")
    return METHODS[name]


def frame_cost(name: str) -> float:
    """What answering and learning from a frame takes, in frame times.

    Raises:
        ConfigError: no such method.
    """
    cost = method_spec(name).frame_cost
    return FRAME_COSTS[name] if cost is None else cost


def build_method(name: str, subject: Subject, seed: int) -> Method:
    """Build a method by name, at its source state; it shares no weight with any other.

    Raises:
        ConfigError: an unknown name, or the subject lacks what the method needs.
    """
    spec = method_spec(name)
    if spec.needs_source_images:
        subject.source(name)
    method = spec.build(subject, seed)
    method.name = name
    return method


__all__ = ["METHODS", "VARIANTS", "MethodSpec", "build_method", "frame_cost", "method_spec"]
