from __future__ import annotations

import json
from pathlib import Path

import pytest

from moase_edge.cli import main, profile_command
from moase_edge.errors import EngineError
from tests.cli.commands import write_pictures

QUICK = ["--window", "5", "--warm-up", "1", "--max-frames", "20"]


def profiled(arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as end:
        main(["profile", *QUICK, *arguments])
    captured = capsys.readouterr()
    assert end.value.code == code, captured.err
    return captured.out, captured.err


def test_both_modes_are_timed_over_a_folder_that_begins_again_and_written(
    tracked_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, folder = write_pictures(tmp_path / "pictures", 3), tmp_path / "out"
    arguments = ["--artifact", str(tracked_artifact), "--source", str(pictures), "--out", str(folder)]
    shown, _ = profiled([*arguments, "--gate", "p50<60000"], capsys)
    assert "frozen: latency (ms)" in shown
    assert "adapting: latency (ms)" in shown
    assert "times as long as the frozen model" in shown
    summary = json.loads((folder / "profile.json").read_text())
    frozen, adapting = (summary["latency_ms"][mode] for mode in ("frozen", "adapting"))
    assert "sidecar" not in frozen
    assert adapting["sidecar"]["count"] == adapting["busy"]["count"] == 10
    assert summary["warm_up_frames"] == 2
    _, error = profiled(arguments, capsys, code=2)
    assert "--force" in error


def test_a_broken_gate_ends_with_3_after_the_figures_were_printed(
    digits_artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, error = profiled(
        ["--artifact", str(digits_artifact), "--json", "--gate", "p99<0.001", "--gate", "frozen.busy.p50<60000"],
        capsys,
        code=3,
    )
    assert json.loads(shown)["source"] == "synthetic frames, 1280x720"
    assert "p99<0.001: measured" in error
    assert "60000" not in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--camera", "0", "--source", "x.mp4"], "name one source"),
        (["--adapt", "off"], "timed beside in any case"),
        (["--gate", "fast"], "'p99<40'"),
    ],
)
def test_what_cannot_be_profiled_is_refused_before_a_model_is_loaded(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, error = profiled([*arguments, "--artifact", "gone"], capsys, code=2)
    assert words in error


def test_the_end_says_how_many_frames_were_counted_and_a_hint_that_fails_costs_nothing(
    digits_artifact: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> str:
        raise EngineError("no second engine")

    monkeypatch.setattr(profile_command, "thread_hint", broken)
    monkeypatch.setattr("moase_edge.runtime.profile.is_steady", lambda *_given, **_named: False)
    arguments = ["--artifact", str(digits_artifact), "--max-frames", "19", "--json"]
    shown, _ = profiled(arguments, capsys)
    assert json.loads(shown)["ended"].startswith("10 frames were timed")
