from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.errors import ConfigError
from moase_edge.metrics.latency import LatencyHistogram
from moase_edge.report.plain import plain_json

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None)),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@dataclass(frozen=True)
class Shape:
    name: str
    sides: tuple[float, ...]


def test_numpy_values_become_plain_numbers_and_lists() -> None:
    data = {"a": np.float32(0.5), "b": np.int64(3), "c": np.array([[1.0, np.nan]]), "d": np.bool_(True)}
    assert plain_json(data) == {"a": 0.5, "b": 3, "c": [[1.0, None]], "d": True}
    assert type(plain_json(np.float64(0.5))) is float


def test_dataclasses_paths_sets_and_other_keys_are_taken_apart() -> None:
    data = {1: Shape("tri", (1.0, math.inf)), "path": Path("a") / "b", "set": {3, 1, 2}}
    assert plain_json(data) == {
        "1": {"name": "tri", "sides": [1.0, None]},
        "path": str(Path("a") / "b"),
        "set": [1, 2, 3],
    }


def test_an_empty_latency_summary_becomes_nulls() -> None:
    plain = plain_json(LatencyHistogram().summary())
    assert plain["count"] == 0
    assert plain["p99_ms"] is None


@pytest.mark.parametrize("wrong", [b"bytes", object(), Shape, 1j, np.datetime64("2020-01-01")])
def test_other_types_are_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="cannot be written as JSON"):
        plain_json({"deep": [wrong]})


@given(trees)
def test_every_tree_becomes_strict_utf8_json(tree: object) -> None:
    text = json.dumps(plain_json(tree), ensure_ascii=False, allow_nan=False)
    again = json.loads(text.encode("utf-8"), parse_constant=pytest.fail)
    assert plain_json(again) == again
