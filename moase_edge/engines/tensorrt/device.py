"""The GPU at hand, asked of its driver: with neither PyTorch nor pycuda, and no context made."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LIBRARY = "libcuda.so.1"
_COMPUTE_CAPABILITY_MAJOR = 75  # CUdevice_attribute of the CUDA driver API
_COMPUTE_CAPABILITY_MINOR = 76
_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_L4T_FILE = Path("/etc/nv_tegra_release")


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU and what drives it.

    Attributes:
        gpu: its name, as the driver gives it.
        target: compute capability as `sm87`.
        memory_mib: all of its memory; on a Jetson it is the system's own.
        versions: `cuda`, the newest that the driver serves; `driver` and `l4t` where the system tells them.
    """

    gpu: str
    target: str
    memory_mib: int
    versions: Mapping[str, str]


def find_device(library: Any = None) -> Device | None:
    """The first GPU that this process may use; None where there is none or no driver.

    Args:
        library: of the CUDA driver; None for the system's.
    """
    try:
        cuda = ctypes.CDLL(_LIBRARY) if library is None else library
    except OSError:
        return None
    count, handle = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    if cuda.cuDeviceGet(ctypes.byref(handle), 0):
        return None
    name, memory, version = ctypes.create_string_buffer(128), ctypes.c_size_t(), ctypes.c_int()
    cuda.cuDeviceGetName(name, len(name), handle)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    return Device(
        gpu=name.value.decode(errors="replace"),
        target=f"sm{_attribute(cuda, _COMPUTE_CAPABILITY_MAJOR, handle)}"
        f"{_attribute(cuda, _COMPUTE_CAPABILITY_MINOR, handle)}",
        memory_mib=memory.value >> 20,
        versions={"cuda": _cuda_version(version.value), **system_versions()},
    )


def _attribute(cuda: Any, attribute: int, handle: ctypes.c_int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
    return value.value


def _cuda_version(number: int) -> str:
    """13000 -> "13.0"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def system_versions(driver_file: Path = _DRIVER_FILE, l4t_file: Path = _L4T_FILE) -> dict[str, str]:
    """Of the NVIDIA driver, and on a Jetson of L4T, as far as the system tells them."""
    found = {
        "driver": re.search(r"(\d+\.\d+(\.\d+)?)", _text(driver_file)),
        "l4t": re.search(r"R(\d+) .*REVISION: ([\d.]+)", _text(l4t_file)),
    }
    versions = {name: match.group(1) for name, match in found.items() if match}
    return {**versions, "l4t": ".".join(found["l4t"].groups())} if found["l4t"] else versions


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
