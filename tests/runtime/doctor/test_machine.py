from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from moase_edge.runtime.doctor import machine
from moase_edge.runtime.doctor.machine import cameras, cores, disk, power_mode, threads


def test_cores_are_counted_by_governor_with_what_to_do(tmp_path: Path) -> None:
    files = []
    for number, name in enumerate(("powersave", "powersave", "performance")):
        files.append(tmp_path / str(number))
        files[-1].write_text(name + "\n")
    finding = cores(files)
    assert "governor: 2 on powersave, 1 on performance" in finding.found
    assert finding.state == "note"
    assert "cpupower" in finding.advice
    assert cores([]).state == "ok"


@pytest.mark.parametrize(("mode", "state"), [("MAXN", "ok"), ("15W", "note")])
def test_a_jetson_s_power_mode_is_read(mode: str, state: str, tmp_path: Path) -> None:
    command = tmp_path / "nvpmodel"
    command.write_text(f"#!/bin/sh\necho 'NV Power Mode: {mode}'\necho 2\n")
    command.chmod(0o755)
    finding = power_mode((str(command), "-q"))
    assert finding is not None
    assert (finding.found, finding.state) == (mode, state)
    assert power_mode((str(tmp_path / "gone"),)) is None


def test_variables_that_bind_threads_are_named() -> None:
    assert threads({"OMP_NUM_THREADS": "1", "HOME": "/"}).found.startswith("OMP_NUM_THREADS=1;")
    assert threads({}).found.startswith("no variable is set")


def test_a_disk_that_is_nearly_full_is_bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert disk(tmp_path).state == "ok"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * 2**20))
    assert (disk(tmp_path).state, disk(tmp_path).found.split(" ")[0]) == ("bad", "100")


def test_cameras_are_listed_with_their_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"video0": ("HD Webcam", ["MJPG (Motion-JPEG)"]), "video1": ("HD Webcam", [])}
    for name in (*given, "video10"):
        (tmp_path / name).touch()

    def formats_of(node: Path) -> tuple[str, list[str]]:
        if node.name not in given:
            raise PermissionError(13, os.strerror(13))
        return given[node.name]

    monkeypatch.setattr(machine, "formats_of", formats_of)
    first, beside, denied = cameras(tmp_path)
    assert (first.found, first.state) == ("HD Webcam: MJPG (Motion-JPEG)", "ok")
    assert (beside.state, denied.state) == ("note", "bad")
    assert "usermod -aG video" in denied.advice


def test_no_camera_is_worth_a_note(tmp_path: Path) -> None:
    (finding,) = cameras(tmp_path)
    assert finding.state == "note"


def test_a_governor_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("performance\n")
    (tmp_path / "1").mkdir()
    found = cores([tmp_path / "0", tmp_path / "1", tmp_path / "2"]).found
    assert found.endswith("governor: 1 on performance")
