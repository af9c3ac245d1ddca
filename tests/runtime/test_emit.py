from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from moase_edge.errors import ConfigError, StorageError
from moase_edge.runtime.emit import ConsumerGone, JsonlEmitter, emit_target, open_emitter
from moase_edge.runtime.result import Result
from tests.runtime.fakes import LevelMethod, ListSource, frames, pipeline_of


@pytest.fixture
def results() -> list[Result]:
    return list(pipeline_of(LevelMethod()).run(ListSource(frames(3))))


def test_each_answer_is_a_line_that_is_there_at_once(results: list[Result], tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    emitter = open_emitter(f"jsonl:{path}")
    for number, result in enumerate(results, start=1):
        emitter.write(result)
        lines = path.read_text().splitlines()
        assert len(lines) == number
        assert json.loads(lines[-1]) == result.as_record()
    emitter.close()
    emitter.close()


def test_a_dash_is_standard_output_which_stays_open(
    results: list[Result], capsys: pytest.CaptureFixture[str]
) -> None:
    emitter = open_emitter("jsonl:-")
    assert emitter.to_stdout
    emitter.write(results[0])
    emitter.close()
    print("still open")
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[0])["frame"] == 0
    assert lines[1] == "still open"


@pytest.mark.parametrize("form", ["json:-", "jsonl", "jsonl:", "-", "", "xml:file", "JSONL:-"])
def test_another_form_is_refused_with_the_right_ones(form: str) -> None:
    with pytest.raises(ConfigError, match=r"jsonl:- .* jsonl:FILE"):
        open_emitter(form)


def test_a_file_that_exists_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("precious")
    for refuse in (emit_target, open_emitter):
        with pytest.raises(ConfigError, match="exists"):
            refuse(f"jsonl:{path}")
    assert path.read_text() == "precious"


def test_asking_for_the_target_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    assert emit_target(f"jsonl:{path}") == path
    assert emit_target("jsonl:-") is None
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "answers.jsonl"
    with pytest.raises(StorageError, match=f"cannot write {path}: No such file"):
        open_emitter(f"jsonl:{path}")


def test_a_name_that_is_too_long_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="File name too long"):
        emit_target(f"jsonl:{tmp_path / ('a' * 300)}")


def test_a_closed_standard_output_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(StorageError, match=r"standard output is closed.*jsonl:FILE"):
        open_emitter("jsonl:-")


def test_a_full_disk_ends_the_emission_with_advice(results: list[Result]) -> None:
    with Path("/dev/full").open("w") as full:
        emitter = JsonlEmitter(full)
        with pytest.raises(StorageError, match="Free some space"):
            emitter.write(results[0])
        emitter.close()
        assert full.closed


def test_a_reader_that_went_away_is_no_fault(results: list[Result], monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    stream = io.TextIOWrapper(io.FileIO(writing, "w"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    emitter = open_emitter("jsonl:-")
    emitter.write(results[0])
    os.close(reading)
    with pytest.raises(ConsumerGone):
        emitter.write(results[1])
    emitter.close()
    stream.write("what is written later goes nowhere")
    stream.close()
