"""The name of the processor that a figure was measured on."""

from __future__ import annotations

import platform
from pathlib import Path


def processor_name() -> str:
    """As the system gives it: "AMD EPYC 9B45", "Cortex-A78AE", or "unknown"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, platform.processor() or "unknown")
