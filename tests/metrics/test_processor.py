"""A processor is named so that another model has another name."""

from __future__ import annotations

from pathlib import Path

import pytest

from moase_edge.metrics.processor import processor_name

VIRTUAL = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
stepping\t: 1

processor\t: 1
cpu family\t: 26
model\t\t: 3
model name\t: AMD EPYC
"""
JETSON = """processor\t: 0
model name\t: ARMv8 Processor rev 1 (v8l)
CPU implementer\t: 0x41
CPU part\t: 0xd42
"""
PI = "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd08\n\nModel : Raspberry Pi 4 Model B Rev 1.4\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (VIRTUAL, "AMD EPYC (cpu family 26, model 2)"),
        (JETSON, "ARMv8 Processor rev 1 (v8l) (CPU implementer 0x41, CPU part 0xd42)"),
        (PI, "Raspberry Pi 4 Model B Rev 1.4 (CPU implementer 0x41, CPU part 0xd08)"),
        ("model name : Some Processor 7\n", "Some Processor 7"),
    ],
)
def test_a_name_comes_with_the_numbers_of_its_model(cpuinfo: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo, encoding="utf-8")
    assert processor_name(path) == expected


def test_without_a_list_of_processors_there_is_a_name_all_the_same(tmp_path: Path) -> None:
    assert processor_name(tmp_path / "none")
