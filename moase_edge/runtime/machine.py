"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from moase_edge.metrics.processor import processor_name

_PACKAGES = ("moase-edge", "numpy", "onnxruntime", "onnxruntime-gpu", "torch", "opencv-python-headless", "pillow")


def describe_machine() -> dict[str, object]:
    """Processor, cores, memory, system and versions, without importing any of the packages."""
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
