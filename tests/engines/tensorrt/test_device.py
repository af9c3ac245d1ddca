"""What the driver says of the GPU. The library is stood in for: its calls fill what they are handed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moase_edge.engines.tensorrt.device import find_device, system_versions


class Driver:
    """A CUDA driver with one Orin, or without a GPU."""

    def __init__(self, *, fails: str | None = None, gpus: int = 1) -> None:
        self._fails, self._gpus = fails, gpus

    def _filled(self, call: str, pointer: Any, value: int) -> int:
        if call == self._fails:
            return 100
        pointer._obj.value = value
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802  the library's own names
        return 100 if self._fails == "cuInit" else 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        return self._filled("cuDeviceGetCount", count, self._gpus)

    def cuDeviceGet(self, handle: Any, index: int) -> int:  # noqa: N802
        return self._filled("cuDeviceGet", handle, index)

    def cuDeviceGetName(self, name: Any, size: int, handle: Any) -> int:  # noqa: N802
        name.value = b"Orin"
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, handle: Any) -> int:  # noqa: N802
        return self._filled("cuDeviceTotalMem_v2", memory, 8 << 30)

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        return self._filled("cuDriverGetVersion", version, 12060)

    def cuDeviceGetAttribute(self, value: Any, attribute: int, handle: Any) -> int:  # noqa: N802
        return self._filled("cuDeviceGetAttribute", value, {75: 8, 76: 7}[attribute])


def test_a_gpu_is_described_as_its_driver_says() -> None:
    device = find_device(Driver())
    assert device is not None
    assert (device.gpu, device.target, device.memory_mib) == ("Orin", "sm87", 8192)
    assert device.versions["cuda"] == "12.6"


@pytest.mark.parametrize(
    "driver",
    [Driver(fails="cuInit"), Driver(fails="cuDeviceGetCount"), Driver(fails="cuDeviceGet"), Driver(gpus=0)],
)
def test_without_a_gpu_there_is_none(driver: Driver) -> None:
    assert find_device(driver) is None


def test_versions_are_read_where_the_system_tells_them(tmp_path: Path) -> None:
    driver, l4t = tmp_path / "version", tmp_path / "nv_tegra_release"
    assert system_versions(driver, l4t) == {}
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Release Build\n")
    l4t.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    assert system_versions(driver, l4t) == {"driver": "580.65.06", "l4t": "36.4.3"}
