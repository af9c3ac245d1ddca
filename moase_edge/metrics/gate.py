"""Latency gates: "p99<40" as a question with an answer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from moase_edge.errors import ConfigError

STATISTICS = ("p50", "p90", "p95", "p99", "max", "mean")
_FORM = re.compile(
    r"\s*(?:(?P<mode>frozen|adapting)\.)?(?:(?P<stage>[a-z]+)\.)?"
    rf"(?P<statistic>{'|'.join(STATISTICS)})\s*(?P<relation><=?)\s*(?P<bound>[0-9]+(?:\.[0-9]+)?)\s*(?:ms)?\s*"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on one figure, in milliseconds.

    Attributes:
        text: as the user wrote it.
        mode: "frozen" or "adapting".
        stage: whose latency.
        statistic: one of `STATISTICS`.
        inclusive: whether the bound itself still passes.
    """

    text: str
    mode: str
    stage: str
    statistic: str
    bound_ms: float
    inclusive: bool

    def passes(self, value_ms: float) -> bool:
        """Whether a measured figure holds the bound; NaN, which nothing was measured for, does not."""
        return value_ms <= self.bound_ms if self.inclusive else value_ms < self.bound_ms


def parse_gate(text: str) -> Gate:
    """Read `[MODE.][STAGE.]STATISTIC<MS`; by default the mode is "adapting" and the stage "busy".

    Raises:
        ConfigError: anything else.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"the gate {text!r} cannot be read. Expected a figure and a bound in milliseconds, such as 'p99<40', "
            f"'engine.p95<=20' or 'frozen.busy.max<50'; figures are {', '.join(STATISTICS)}."
        )
    return Gate(
        text=text.strip(),
        mode=match["mode"] or "adapting",
        stage=match["stage"] or "busy",
        statistic=match["statistic"],
        bound_ms=float(match["bound"]),
        inclusive=match["relation"] == "<=",
    )


def broken_gates(gates: list[Gate], figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """What failed, a clause each: "p99<40: measured 41.20 ms".

    Args:
        figures: milliseconds by mode, stage and statistic.

    Raises:
        ConfigError: a gate on a stage that no frame passed.
    """
    failed = []
    for gate in gates:
        stages = figures.get(gate.mode, {})
        if gate.stage not in stages:
            raise ConfigError(
                f"the gate {gate.text!r} is on the stage {gate.stage}, which was not timed while {gate.mode}. "
                f"Timed were {', '.join(stages) or 'none'}."
            )
        value_ms = stages[gate.stage].get(gate.statistic, math.nan)
        if not gate.passes(value_ms):
            failed.append(f"{gate.text}: measured {value_ms:.2f} ms")
    return failed
