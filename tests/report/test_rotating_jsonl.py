from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.errors import ConfigError, StorageError
from moase_edge.report.files import RotatingJsonl


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["i"] for line in path.read_text().splitlines()]


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.iterdir()]


def test_each_record_is_one_compact_line_on_disk_at_once(tmp_path: Path) -> None:
    with RotatingJsonl(tmp_path) as journal:
        journal.write({"i": 1, "entropy": float("nan"), "name": "grüße\n"})
        assert (
            tmp_path / "frames.jsonl"
        ).read_bytes() == b'{"i":1,"entropy":null,"name":"gr\\u00fc\\u00dfe\\n"}\n'


def test_full_files_move_on_and_the_oldest_is_dropped(tmp_path: Path) -> None:
    with RotatingJsonl(tmp_path, "log", max_bytes=16, max_files=3) as journal:
        for i in range(8):
            journal.write({"i": i})  # 8 bytes, two a file
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.1.jsonl", "log.2.jsonl", "log.jsonl"]
    assert numbers(tmp_path / "log.2.jsonl") == [2, 3]
    assert numbers(tmp_path / "log.1.jsonl") == [4, 5]
    assert numbers(tmp_path / "log.jsonl") == [6, 7]
    assert journal.lost_lines == 0


@given(st.lists(st.integers(0, 10**12), max_size=60), st.integers(30, 200), st.integers(2, 4))
def test_total_size_is_bounded_and_what_remains_is_the_newest(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], max_bytes: int, max_files: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    with RotatingJsonl(folder, max_bytes=max_bytes, max_files=max_files) as journal:
        for value in values:
            journal.write({"i": value})
    assert max(sizes(folder)) <= max_bytes
    assert len(sizes(folder)) <= max_files
    oldest_first = sorted(folder.iterdir(), key=lambda path: path.name, reverse=True)
    oldest_first.sort(key=lambda path: path.name == "frames.jsonl")
    kept = [value for path in oldest_first for value in numbers(path)]
    assert kept == values[len(values) - len(kept) :]
    assert bool(kept) == bool(values)


def test_an_existing_journal_is_continued_after_its_unfinished_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    path.write_bytes(b'{"i":1}\n{"i":2}\n{"i":3, "name": "' + b"x" * 100_000)
    with RotatingJsonl(tmp_path) as journal:
        journal.write({"i": 4})
    assert numbers(path) == [1, 2, 4]


def test_a_file_of_one_unfinished_line_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "frames.jsonl").write_bytes(b'{"i":')
    with RotatingJsonl(tmp_path) as journal:
        journal.write({"i": 4})
    assert numbers(tmp_path / "frames.jsonl") == [4]


def test_a_record_longer_than_a_file_is_lost_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RotatingJsonl(tmp_path, max_bytes=20) as journal:
        journal.write({"i": 1})
        journal.write({"i": "x" * 20})
        journal.write({"i": 2})
    assert journal.lost_lines == 1
    assert numbers(tmp_path / "frames.jsonl") == [1, 2]
    assert "longer than a whole file (20 bytes)" in caplog.text


def test_a_record_after_close_opens_the_file_again(tmp_path: Path) -> None:
    journal = RotatingJsonl(tmp_path)
    journal.write({"i": 1})
    journal.close()
    journal.close()
    journal.write({"i": 2})
    journal.close()
    assert numbers(tmp_path / "frames.jsonl") == [1, 2]


def test_a_record_that_json_cannot_hold_is_the_callers_error(tmp_path: Path) -> None:
    with RotatingJsonl(tmp_path) as journal, pytest.raises(ConfigError, match="bytes"):
        journal.write({"i": b"1"})
    assert journal.lost_lines == 0


@pytest.mark.parametrize(
    ("stem", "max_bytes", "max_files"), [("a/b", 10, 2), ("", 10, 2), ("a", 0, 2), ("a", 10, 1)]
)
def test_wrong_limits_and_names_are_refused(tmp_path: Path, stem: str, max_bytes: int, max_files: int) -> None:
    with pytest.raises(ConfigError, match="at least 2 files"):
        RotatingJsonl(tmp_path, stem, max_bytes=max_bytes, max_files=max_files)


def test_a_folder_that_cannot_be_made_is_a_storage_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(StorageError, match=r"could not open .*frames\.jsonl"):
        RotatingJsonl(tmp_path / "taken")


def test_a_failed_rotation_loses_lines_but_no_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = RotatingJsonl(tmp_path, max_bytes=8, max_files=4)
    for i in range(3):
        journal.write({"i": i})
    rename = Path.replace

    def refuse_current(source: Path, target: Path) -> Path:
        if source.name == "frames.jsonl":
            raise OSError(errno.EIO, "Input/output error")
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse_current)
        for i in range(3, 6):
            journal.write({"i": i})
    assert journal.lost_lines == 3
    assert len(caplog.records) == 1
    journal.write({"i": 6})
    journal.close()
    found = [numbers(tmp_path / f"frames{suffix}.jsonl") for suffix in ("", ".1", ".2", ".3")]
    assert found == [[6], [2], [1], [0]]


def test_a_half_written_line_is_cut_off_even_when_truncating_fails_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = RotatingJsonl(tmp_path)
    journal.write({"i": 1})
    write = os.write
    calls: list[int] = []

    def write_half(descriptor: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    def refuse(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_half)
        patch.setattr(os, "ftruncate", refuse)
        journal.write({"i": 2})
    assert not (tmp_path / "frames.jsonl").read_bytes().endswith(b"\n")
    journal.write({"i": 3})
    journal.close()
    assert numbers(tmp_path / "frames.jsonl") == [1, 3]
    assert journal.lost_lines == 1


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with RotatingJsonl(tmp_path) as journal:
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
        journal.write({"i": 123456})
    assert numbers(tmp_path / "frames.jsonl") == [123456]


FULL_DISK = """
    import json, logging, resource, sys
    from pathlib import Path
    from moase_edge.errors import StorageError
    from moase_edge.report.files import RotatingJsonl, write_bytes_atomic

    folder = Path(sys.argv[1])
    logging.basicConfig(level=logging.WARNING)
    journal = RotatingJsonl(folder)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    for i in range(100):
        journal.write({"i": i, "text": "x" * 20})
    full = (folder / "frames.jsonl").read_bytes()
    try:
        write_bytes_atomic(folder / "report.html", bytes(5000))
    except StorageError as error:
        message = str(error)
    names = sorted(path.name for path in folder.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    journal.write({"i": 100})
    journal.close()
    found = {"lost": journal.lost_lines, "full": full.decode(), "message": message, "names": names}
    print(json.dumps(found))
"""


def test_a_disk_that_really_is_full_costs_lines_and_never_a_broken_one(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(run.stdout)
    whole = [json.loads(line)["i"] for line in found["full"].splitlines()]
    assert found["full"].endswith("\n")
    assert 960 <= len(found["full"]) <= 1000
    assert whole == list(range(len(whole)))
    assert found["lost"] == 100 - len(whole)
    assert numbers(tmp_path / "frames.jsonl") == [*whole, 100]
    assert run.stderr.count("WARNING") == 1
    assert "File too large" in run.stderr
    assert "raise the file size limit" in found["message"]
    assert found["names"] == ["frames.jsonl"]


def test_the_warning_is_given_once_and_names_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "journal").mkdir()
    journal = RotatingJsonl(tmp_path / "journal")
    journal.close()
    (tmp_path / "journal" / "frames.jsonl").unlink()
    (tmp_path / "journal").rmdir()
    (tmp_path / "journal").touch()
    with caplog.at_level(logging.WARNING):
        for i in range(3):
            journal.write({"i": i})
    assert journal.lost_lines == 3
    assert len(caplog.records) == 1
    assert "frames.jsonl" in caplog.text


def test_a_failed_flush_at_the_end_is_reported_and_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal = RotatingJsonl(tmp_path)
    journal.write({"i": 1})
    monkeypatch.setattr(os, "fsync", fail)
    journal.close()
    assert "Input/output error; check the disk" in caplog.text
    assert numbers(tmp_path / "frames.jsonl") == [1]
