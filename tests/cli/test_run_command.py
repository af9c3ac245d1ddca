"""What `run` does before and around the run itself."""

from __future__ import annotations

import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from moase_edge.cli import interrupt, main, run_command
from moase_edge.cli.run import RunArguments
from moase_edge.cli.run_command import (
    frame_budget_ms,
    read_settings,
    refuse_useless_work,
    source_uri,
    stop_on_signals,
)
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.errors import ConfigError
from moase_edge.runtime.pipeline import Pipeline
from tests.artifact.folders import make_artifact
from tests.cli.commands import write_pictures
from tests.runtime.fakes import LevelMethod, ListSource, frames, pipeline_of

GIVEN = RunArguments(source="video.mp4")


def test_one_source_is_named() -> None:
    assert source_uri(GIVEN) == "video.mp4"
    assert source_uri(replace(GIVEN, source=None, camera=2)) == "camera:2"
    for wrong in (replace(GIVEN, source=None), replace(GIVEN, camera=0)):
        with pytest.raises(ConfigError, match="name one source"):
            source_uri(wrong)


def test_a_budget_is_named_once_in_milliseconds_or_frames_per_second() -> None:
    assert frame_budget_ms(None, None) is None
    assert frame_budget_ms(33.0, None) == 33.0
    assert frame_budget_ms(None, 25.0) == 40.0
    for budget_ms, fps, words in ((33.0, 30.0, "Name one"), (0.0, None, "--budget-ms"), (None, -1.0, "--fps")):
        with pytest.raises(ConfigError, match=words):
            frame_budget_ms(budget_ms, fps)


@pytest.mark.parametrize(
    "wrong",
    [
        {"adapt": "sometimes"},
        {"adapt": "hold", "budget_ms": 33.0},
        {"emit": "csv:-"},
        {"adapt": "hold", "settings": Path("settings.json")},
        {"adapt": "off", "settings": Path("settings.json")},
        {"source": None},
    ],
)
def test_what_cannot_work_is_refused_before_a_model_is_loaded(
    wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(given: RunArguments) -> Pipeline:
        raise AssertionError("loaded a model")

    monkeypatch.setattr(run_command, "open_pipeline", load)
    with pytest.raises(ConfigError):
        run_command.execute(replace(GIVEN, **wrong))


def test_a_report_that_exists_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "frames.jsonl").write_text("precious")
    with pytest.raises(ConfigError, match="exists"):
        refuse_useless_work(replace(GIVEN, report=tmp_path))
    refuse_useless_work(replace(GIVEN, report=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_settings_complete_the_artifact_s_own_preset(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"lr": 0.5, "train": ["adapter", "norm"]}')
    for preset, published in ADAPT_PRESETS.items():
        read = read_settings(path, preset)
        assert read == published.model_copy(update={"lr": 0.5, "train": ("adapter", "norm")})
        assert isinstance(read, AdaptSettings)


def test_settings_complete_a_part_of_the_preset_too(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"track": {"steer": true}, "guard": {"window": 99}, "objectives": {"entropy": 1.0}}')
    read, published = read_settings(path, "paper"), ADAPT_PRESETS["paper"]
    assert read.track == published.track.model_copy(update={"steer": True})
    assert not read.track.recentre
    assert read.guard == published.guard.model_copy(update={"window": 99})
    assert read.objectives == {"entropy": 1.0}  # a choice, not a part: nothing of the preset's is left in it
    path.write_text('{"track": {"steering": true}, "guard": 3}')
    with pytest.raises(ConfigError, match=r"2 faults(?s:.*)track\.steering(?s:.*)guard|2 faults(?s:.*)guard"):
        read_settings(path, "edge")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Expected a JSON object"),
        ("[1]", "no JSON object"),
        ("[" * 100_000, "Expected a JSON object"),
        ("\xff", "no JSON object|Expected a JSON object"),
        ('{"lr": -1, "momentum": 0.9, "view": "none"}', r"3 faults(?s:.*)lr(?s:.*)momentum"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_with_all_faults(
    content: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=words):
        read_settings(path, "edge")
    with pytest.raises(ConfigError, match="cannot read settings"):
        read_settings(tmp_path / "absent.json", "edge")


def test_settings_reach_the_learner_and_the_report(digits_artifact: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 3)
    settings = '{"lr": 0.003, "view": "feature-noise", "objectives": {"consistency": 1.0}}'
    (tmp_path / "settings.json").write_text(settings)
    arguments = ["run", "--artifact", digits_artifact, "--source", pictures, "--report", tmp_path / "report"]
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--adapt", "every-2", "--settings", str(tmp_path / "settings.json")])
    assert end.value.code == 0
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert (summary["learner"]["lr"], summary["learner"]["view"]) == (0.003, "feature-noise")
    assert (summary["adapt"], summary["counts"]["updates"]) == ("every-2", 2)


def test_the_number_of_frames_can_be_limited(digits_artifact: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 5)
    arguments = ["run", "--adapt", "off", "--artifact", digits_artifact, "--source", pictures]
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--report", str(tmp_path / "report"), "--max-frames", "2"])
    assert end.value.code == 0
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["ended"] == "2 frames were asked for"


def test_answers_can_go_to_a_file_while_the_figures_are_shown(
    digits_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, answers = write_pictures(tmp_path / "pictures", 3), tmp_path / "answers.jsonl"
    arguments = ["run", "--adapt", "off", "--artifact", digits_artifact, "--source", pictures]
    arguments += ["--emit", f"jsonl:{answers}", "--report", tmp_path / "report"]
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    assert end.value.code == 0
    assert [json.loads(line)["frame"] for line in answers.read_text().splitlines()] == [0, 1, 2]
    assert "Latency (ms)" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--force"])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {answers} exists; --emit writes a new file. Name another.\n"


def test_a_source_that_fails_at_once_leaves_no_report_and_no_emitted_file(
    digits_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--adapt", "off", "--artifact", digits_artifact, "--source", tmp_path / "absent.mp4"]
    outputs = ["--report", tmp_path / "report", "--emit", f"jsonl:{tmp_path / 'answers.jsonl'}"]
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in [*arguments, *outputs]])
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("error: there is no file or folder")
    assert not list(tmp_path.iterdir())


def test_a_source_that_is_lost_shows_figures_and_report_before_the_error(
    digits_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "no.jpg").write_text("no picture")
    arguments = ["run", "--adapt", "off", "--artifact", digits_artifact, "--source", pictures]
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--report", str(tmp_path / "report")])
    assert end.value.code == 1
    shown = capsys.readouterr()
    assert f"report: {tmp_path / 'report' / 'report.html'}" in shown.out
    assert "skipped: 1" in shown.out
    assert "error: " in shown.err.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_stops_and_the_second_ends(
    number: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: Queue[int] = Queue()
    monkeypatch.setattr(interrupt, "end_at_once", ended.put)
    pipeline = pipeline_of(LevelMethod())
    before = signal.getsignal(number)
    with stop_on_signals(pipeline) as came:
        signal.raise_signal(number)
        assert (came, pipeline.stopping) == ([number], True)
        assert capsys.readouterr().err == "interrupted; writing the report (again to stop without it)\n"
        assert ended.empty()
        signal.raise_signal(number)
        assert ended.get(timeout=60) == number
    assert signal.getsignal(number) is before


def test_a_signal_that_came_before_the_run_began_stops_it_after_one_frame() -> None:
    pipeline = pipeline_of(LevelMethod())
    with stop_on_signals(pipeline) as came:
        signal.raise_signal(signal.SIGTERM)
        view = type("View", (), {"show": lambda self, result: None})()
        listen = run_command._listener(pipeline, view, None, came)
        answered = 0
        for result in pipeline.run(ListSource(frames(5))):
            listen(result)
            answered += 1
    assert answered == 1


def test_a_signal_that_is_ignored_is_left_alone() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals(pipeline_of(LevelMethod())) as came:
            signal.raise_signal(signal.SIGHUP)
            assert came == []
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a/2.jpg", "a/3.jpg"], "2 more came after it: .* Quote it: --source 'a/\\*.jpg'"),
        (["a/2.png"], "1 more came after it: .* Quote it: --source 'a/\\*'"),
        (["hold"], "'hold' belongs to no option"),
    ],
)
def test_words_that_belong_to_no_option_are_explained(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "--source", "a/1.jpg", *words, "--adapt", "off"])
    assert end.value.code == 2
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize(("others", "choice"), [(0, None), (2, "the newest of 3 under artifacts/")])
def test_the_newest_of_several_artifacts_is_taken_and_said_to_be(
    others: int, choice: str | None, digits_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(digits_artifact, tmp_path / "artifacts" / "digits")
    for index in range(others):
        make_artifact(tmp_path / "artifacts" / f"old{index}", age_days=1 + index)
    pipeline = run_command.open_pipeline(replace(GIVEN, adapt="off"))
    pipeline.close()
    assert pipeline.facts["artifact"] == "artifacts/digits"
    assert pipeline.facts.get("artifact_choice") == choice
