"""The name of the processor that a figure was measured on."""

from __future__ import annotations

import platform
from pathlib import Path

# What tells one model from another in /proc/cpuinfo where the name does not: a virtual machine's is often
# "AMD EPYC", a Jetson's "ARMv8 Processor". Of x86, then of ARM.
_TELLING = ("cpu family", "model", "CPU implementer", "CPU part")


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """As the system gives it, with its model's numbers: "AMD EPYC (cpu family 26, model 2)"; or "unknown"."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    fields: dict[str, str] = {}
    for key, _, value in (line.partition(":") for line in lines):
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or fields.get("Model") or platform.processor() or "unknown"
    told = ", ".join(f"{key} {fields[key]}" for key in _TELLING if fields.get(key))
    return f"{name} ({told})" if told else name
