"""Domains by name: clean, the corruptions, and the shifts that are no corruption, computed on the fly."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from moase_edge.data.corruptions import CORRUPTIONS, ConstantSet, corrupt
from moase_edge.data.corruptions.corruption import check_severity
from moase_edge.data.labelled import Domain
from moase_edge.data.shifts import SHIFTS, shift
from moase_edge.data.unknown import does_not_exist
from moase_edge.errors import ConfigError

CLEAN = "clean"
"""The name of the domain that shows pictures as they are."""


def computed_domain(name: str, severity: int, *, constants: ConstantSet | None = None) -> Domain:
    """The domain of that name at one severity; `at` gives the others.

    Args:
        name: `clean`, or a key of CORRUPTIONS or SHIFTS.
        severity: 1 to 5; clean pictures have none.
        constants: of corruptions, see `corrupt`.

    Raises:
        ConfigError: an unknown name, with the nearest one, or a severity out of range.
    """
    check_severity(severity)
    if name == CLEAN:
        return Domain(CLEAN)
    if name in CORRUPTIONS:
        apply = partial(_corrupted, name=name, severity=severity, constants=constants)
    elif name in SHIFTS:
        apply = partial(_shifted, name=name, severity=severity)
    else:
        raise ConfigError(does_not_exist("corruption", name, (CLEAN, *CORRUPTIONS, *SHIFTS)))
    # Partials of functions, not closures: a stream has to travel to another process.
    return Domain(name, apply, severity=severity, at=partial(computed_domain, name, constants=constants))


def _corrupted(
    image: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    name: str,
    severity: int,
    constants: ConstantSet | None,
) -> NDArray[np.uint8]:
    return corrupt(image, name, severity, rng, constants=constants)


def _shifted(image: NDArray[np.uint8], rng: np.random.Generator, *, name: str, severity: int) -> NDArray[np.uint8]:
    return shift(image, name, severity, rng)
