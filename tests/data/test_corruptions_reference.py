"""The corruptions against the published package, on photographs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corruption_statistics import compare, full_table, published_draws, short_table
from moase_edge.data.corruptions import CORRUPTIONS

pytestmark = pytest.mark.data

# By how much the worst statistic of the worst photograph may deviate. The draws of the published impulse noise and
# glass blur are not known, so chance is left there; frost is drawn here and photographed there.
TOLERANCE = dict.fromkeys(CORRUPTIONS, 0.02) | {"impulse_noise": 0.05, "glass_blur": 0.03, "frost": 0.10}

# With three draws of its own these differ by chance: one angle, cloud or few drops.
CHANCE = ("motion_blur", "fog", "spatter")


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("MOASE_EDGE_DATA")
    if not folder:
        pytest.skip("MOASE_EDGE_DATA is not set")
    return Path(folder)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_statistics_agree_with_the_published_package_draw_for_draw(name: str, data: Path) -> None:
    rows = compare(data, published_draws, [name])
    assert max(row.worst for row in rows) < TOLERANCE[name], full_table(rows)


@pytest.mark.parametrize("draws", [np.random.default_rng])
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in CHANCE])
def test_statistics_agree_with_the_published_package_under_other_draws(
    name: str, data: Path, draws: Callable[[int], np.random.Generator]
) -> None:
    rows = compare(data, draws, [name])
    assert max(row.worst for row in rows) < 0.10, short_table(rows)
