"""A record that outlives the process that writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gpu_record import Progress
from moase_edge.errors import ConfigError

SETUP = {"seed": 0, "shape": (1, 2)}


def test_every_step_is_on_the_disk_when_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    progress = Progress(path, SETUP)
    progress.begin("a")
    assert "unfinished" in json.loads(path.read_text())["engines"]["a"]
    progress.finish("a", {"relative_error": float("inf")})
    entry = json.loads(path.read_text())["engines"]["a"]
    assert entry["relative_error"] is None, "JSON has no infinity"
    assert set(entry) == {"relative_error", "measured_at"}


def test_what_ended_the_process_is_tried_again_behind_all_others(tmp_path: Path) -> None:
    before = Progress(tmp_path / "record.json", SETUP)
    before.finish("done", {})
    before.begin("fatal")
    after = Progress(tmp_path / "record.json", SETUP)
    names = ["fatal", "done", "new"]
    assert after.to_do(names, again=False) == ["new", "fatal"]
    assert after.to_do(names, again=True) == names


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    progress = Progress(None, SETUP)
    progress.finish("a", {"ok": True})
    progress.note(pending=[])
    assert list(tmp_path.iterdir()) == []
    assert progress.record["engines"]["a"]["ok"]


def test_another_setup_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    Progress(path, SETUP).note()
    with pytest.raises(ConfigError, match=r"another measurement: seed 0, here 1; gpu None, here 'L4'\. Name"):
        Progress(path, {**SETUP, "seed": 1, "gpu": "L4"})
    path.write_text('{"benchmark": "other"}')
    with pytest.raises(ConfigError, match="no record of this benchmark"):
        Progress(path, SETUP)
