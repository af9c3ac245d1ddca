"""Protocols: in which order pictures and domains come. Each makes a `Stream`, the same one for every method.

All take `(images, domains, *, seed, limit=None, fit=None)` and the options in their own docstring. The
latency-aware protocol is none of these: it is a clock, and can be laid over any of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from moase_edge.data.labelled import Domain, PictureSet
from moase_edge.data.protocols.by_domain import continual, cyclic, gradual, single_frame
from moase_edge.data.protocols.clips import ClipOrder, clips
from moase_edge.data.protocols.correlated import class_sorted, dirichlet
from moase_edge.data.protocols.pan import pan
from moase_edge.data.protocols.shuffled import jumps, mixed
from moase_edge.data.protocols.stream import Fit, Stream
from moase_edge.data.unknown import does_not_exist
from moase_edge.errors import ConfigError

__all__ = ["PROTOCOLS", "ClipOrder", "Fit", "Stream", "make_protocol", "protocol_options"]

PROTOCOLS: dict[str, Callable[..., Stream]] = {
    "continual": continual,
    "gradual": gradual,
    "mixed": mixed,
    "class_sorted": class_sorted,
    "dirichlet": dirichlet,
    "cyclic": cyclic,
    "single_frame": single_frame,
    "clips": clips,
    "pan": pan,
    "jumps": jumps,
}
"""By name."""


def make_protocol(
    name: str, images: PictureSet, domains: Sequence[Domain], *, seed: int, **options: Any
) -> Stream:
    """The stream of one protocol.

    Args:
        name: a key of PROTOCOLS.
        images, domains, seed: see `continual`.
        options: `limit`, `fit` and those of the protocol itself.

    Raises:
        ConfigError: an unknown name or option, with those there are; and what the protocol refuses.
    """
    known = protocol_options(name)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ConfigError(f"the {name} protocol has no option {unknown[0]!r}; expected {', '.join(known)}")
    return PROTOCOLS[name](images, domains, seed=seed, **options)


def protocol_options(name: str) -> dict[str, Any]:
    """The options of a protocol with their defaults.

    Raises:
        ConfigError: an unknown name, with the nearest one and all there are.
    """
    if name not in PROTOCOLS:
        raise ConfigError(does_not_exist("protocol", name, PROTOCOLS))
    parameters = inspect.signature(PROTOCOLS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
