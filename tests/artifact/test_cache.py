"""The cache keeps what was made from exactly the same facts, and never fails."""

from __future__ import annotations

import os
from pathlib import Path
from time import time

import pytest

from moase_edge.artifact.cache import Cache, cache_folder

FACTS = {"graph": "abc", "batch": [1, 1]}


def test_the_folder_is_the_named_one_else_in_the_users_cache() -> None:
    assert cache_folder({"MOASE_EDGE_CACHE": "/here", "XDG_CACHE_HOME": "/there"}) == Path("/here")
    assert cache_folder({"XDG_CACHE_HOME": "/there"}) == Path("/there/moase-edge")
    assert cache_folder({}) == Path.home() / ".cache" / "moase-edge"


def test_what_was_kept_comes_back_for_the_same_facts_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new")
    assert cache.load("plan", FACTS) is None
    cache.store("plan", FACTS, b"content")
    assert cache.load("plan", dict(reversed(FACTS.items()))) == b"content"
    assert cache.load("plan", {**FACTS, "batch": [1, 2]}) is None
    assert cache.load("timing", FACTS) is None


def test_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for content in (b"old", b"new"):
        cache.store("timing", FACTS, content)
    assert cache.load("timing", FACTS) == b"new"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damaged", [b"", b"conten", b"Content"])
def test_a_damaged_entry_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: bytes) -> None:
    cache = Cache(tmp_path)
    cache.store("plan", FACTS, b"content")
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(damaged)
    assert cache.load("plan", FACTS) is None
    assert "is damaged" in caplog.text
    assert not entry.exists()


def test_an_interrupted_write_leaves_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path).store("plan", FACTS, b"content")
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_half_written_is_removed_once_it_is_a_day_old(tmp_path: Path) -> None:
    for name, age_h in ((".writing-old", 25), (".writing-new", 23), ("notes", 25)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time() - age_h * 3600,) * 2)
    Cache(tmp_path).store("plan", FACTS, b"content")
    assert {path.name for path in tmp_path.iterdir() if path.name[:4] != "plan"} == {".writing-new", "notes"}


def test_a_cache_that_cannot_be_written_only_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "cache")
    cache.store("plan", FACTS, b"content")
    assert "keeps nothing" in caplog.text
    assert "MOASE_EDGE_CACHE" in caplog.text
    assert cache.load("plan", FACTS) is None
