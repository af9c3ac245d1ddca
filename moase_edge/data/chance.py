"""Random numbers by purpose: each draw has a generator of its own, so none depends on what was drawn before it."""

from __future__ import annotations

import numpy as np


def generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of one purpose.

    Args:
        seed: at least 0; of the whole experiment.
        key: the purpose, each number at least 0. Keys that differ give independent generators, also where one is
            the beginning of the other or where they differ by zeros at the end.
    """
    # A spawn key, not a list of integers as the seed: there trailing zeros do not count.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
