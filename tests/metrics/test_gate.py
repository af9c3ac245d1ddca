from __future__ import annotations

import math

import pytest

from moase_edge.errors import ConfigError
from moase_edge.metrics.gate import broken_gates, parse_gate


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("p99<40", ("adapting", "busy", "p99", 40.0, False)),
        (" p50 <= 12.5 ms ", ("adapting", "busy", "p50", 12.5, True)),
        ("engine.p95<=20", ("adapting", "engine", "p95", 20.0, True)),
        ("frozen.total.max<50", ("frozen", "total", "max", 50.0, False)),
        ("frozen.mean<3", ("frozen", "busy", "mean", 3.0, False)),
    ],
)
def test_a_gate_names_mode_stage_figure_and_bound(text: str, parts: tuple[object, ...]) -> None:
    gate = parse_gate(text)
    assert (gate.mode, gate.stage, gate.statistic, gate.bound_ms, gate.inclusive) == parts


@pytest.mark.parametrize("text", ["", "p99", "p98<40", "p99>40", "p99<-1", "p99<1e3", "total p99<40", "a.b.p99<1"])
def test_another_form_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match="'p99<40'"):
        parse_gate(text)


def test_the_bound_itself_passes_only_where_it_is_included() -> None:
    assert parse_gate("p99<=40").passes(40.0)
    assert not parse_gate("p99<40").passes(40.0)
    assert not parse_gate("p99<=40").passes(math.nan)


def test_every_broken_gate_is_told_with_what_was_measured() -> None:
    figures = {"adapting": {"busy": {"p50": 10.0, "p99": 41.2}, "engine": {"p99": 9.0}}}
    gates = [parse_gate(text) for text in ("p99<40", "p50<40", "engine.p99<9")]
    assert broken_gates(gates, figures) == ["p99<40: measured 41.20 ms", "engine.p99<9: measured 9.00 ms"]


def test_a_gate_on_a_stage_that_was_not_timed_is_refused_with_those_that_were() -> None:
    with pytest.raises(ConfigError, match="Timed were total, engine"):
        broken_gates([parse_gate("update.p99<1")], {"adapting": {"total": {}, "engine": {}}})
