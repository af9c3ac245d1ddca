"""The whole page."""

from __future__ import annotations

from pathlib import Path

from moase_edge.engines.tensorrt.device import find_device
from moase_edge.runtime.doctor.choice import look_at_artifact
from moase_edge.runtime.doctor.engines import look_at_engines
from moase_edge.runtime.doctor.finding import Finding
from moase_edge.runtime.doctor.machine import look_at_machine
from moase_edge.runtime.doctor.packages import look_at_packages


def examine(artifact: Path | None = None) -> list[Finding]:
    """Look at packages, engines, the machine and an artifact; imports engines and nothing else that is heavy.

    Args:
        artifact: None for the newest under artifacts/.
    """
    return [
        *look_at_packages(),
        *look_at_engines(find_device()),
        *look_at_machine(),
        *look_at_artifact(artifact),
    ]
