"""Frames grouped by domain, where a domain is an index into names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moase_edge.errors import ConfigError


def domain_index(domain: ArrayLike, domains: Sequence[str]) -> NDArray[np.int64]:
    """`domain` as (n,) int64, each an index into `domains`.

    Raises:
        ConfigError: not a list of integers, or an index out of range.
    """
    index = np.asarray(domain)
    if index.ndim != 1 or (index.size and not np.issubdtype(index.dtype, np.integer)):
        raise ConfigError(
            f"domains have shape {index.shape} and dtype {index.dtype}; expected one integer a frame, "
            f"an index into the {len(domains)} names"
        )
    if index.size and not (index.min() >= 0 and index.max() < len(domains)):
        raise ConfigError(
            f"domain indices run from {index.min()} to {index.max()}; "
            f"expected 0 to {len(domains) - 1}, an index into the {len(domains)} names"
        )
    return index.astype(np.int64, copy=False)


def frames_by_domain(domain: NDArray[np.int64], domains: Sequence[str]) -> dict[str, int]:
    """How many frames each domain has, without those that have none."""
    counts = np.bincount(domain, minlength=len(domains)).tolist()
    return {name: count for name, count in zip(domains, counts, strict=True) if count}


def error_by_domain_index(
    wrong: NDArray[np.bool_], domain: NDArray[np.int64], domains: Sequence[str]
) -> dict[str, float]:
    """Error in percent of each domain that has frames, in the order of the names."""
    frames = frames_by_domain(domain, domains)
    errors = np.bincount(domain, weights=wrong, minlength=len(domains)).tolist()
    return {name: 100.0 * errors[i] / frames[name] for i, name in enumerate(domains) if name in frames}
