from __future__ import annotations

import pytest

from moase_edge.config.base import load_settings
from moase_edge.config.source import SourceSettings
from moase_edge.errors import ConfigError


def test_by_default_a_lost_source_is_waited_for_without_end() -> None:
    settings = SourceSettings()
    assert settings.give_up_after_s is None
    assert (settings.first_pause_s, settings.most_pause_s, settings.rtsp_transport) == (1, 30, "tcp")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"wait_s": 0}, "wait_s"),
        ({"give_up_after_s": -1}, "give_up_after_s"),
        ({"rtsp_transport": "http"}, "rtsp_transport"),
        ({"first_pause_s": 40}, r"most_pause_s \(30\) must not be below first_pause_s \(40\)"),
    ],
)
def test_values_that_make_no_sense_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_settings(SourceSettings, values)
