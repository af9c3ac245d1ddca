"""Settings of int8: what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from moase_edge.config.base import load_settings
from moase_edge.config.calib import QuantiseSettings, RepresentativeSettings, SearchSettings
from moase_edge.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (QuantiseSettings, {"method": "best"}),
        (QuantiseSettings, {"percentile": 100.1}),
        (QuantiseSettings, {"bins": 257}),
        (QuantiseSettings, {"smooth": 1.0}),
        (SearchSettings, {"methods": ()}),
        (SearchSettings, {"hold_out": 1}),
        (SearchSettings, {"least_int8": 1.1}),
        (RepresentativeSettings, {"near": 1.0}),
        (RepresentativeSettings, {"live_s": float("inf")}),
        (RepresentativeSettings, {"most": 0}),
    ],
)
def test_what_makes_no_sense_is_refused(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        load_settings(kind, values)


def test_norms_are_not_clipped_by_default_whatever_the_method() -> None:
    assert QuantiseSettings(method="entropy").norms == "minmax"
