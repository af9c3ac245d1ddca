"""`run` on what is live: a stream that comes and goes, a video by its own clock."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from moase_edge.cli import main
from tests.cli.commands import start, write_video
from tests.frames.processes import children
from tests.frames.servers import STALL, jpeg, mjpeg_server, part

PASSWORD = "pa55word"


def frozen_run(artifact: Path, source: object, report: Path, *more: object) -> list[str]:
    arguments = ["run", "--adapt", "off", "--artifact", artifact, "--source", source, "--report", report, *more]
    return [str(argument) for argument in arguments]


def test_a_stream_that_breaks_off_is_opened_again_and_a_signal_ends_the_wait_for_it(
    digits_artifact: Path, tmp_path: Path
) -> None:
    with mjpeg_server([part(jpeg(10))], [part(jpeg(20)), STALL], password=f"admin:{PASSWORD}") as server:
        uri = server.uri(f"admin:{PASSWORD}@")
        with start(frozen_run(digits_artifact, uri, tmp_path / "report", "--emit", "jsonl:-")) as process:
            assert process.stdout is not None
            answers = [json.loads(process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert [answer["frame"] for answer in answers] == [0, 1]
    assert all(0 < answer["age_ms"] < 60_000 for answer in answers)
    assert "the stream ended; it is opened again" in said
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["ended"] == "it was interrupted"
    assert (summary["pace"], summary["source_counts"]["reopened"]) == ("real", 1)
    assert "Beware: reopened: 1" in (tmp_path / "report" / "report.html").read_text()
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "report").iterdir())
    assert PASSWORD not in said + written


def test_a_stream_that_stays_away_ends_the_run_after_the_time_that_was_allowed(
    digits_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mjpeg_server([part(jpeg(10))]) as server:
        with pytest.raises(SystemExit) as end:
            main(frozen_run(digits_artifact, server.uri(), tmp_path / "report", "--give-up-after", 0))
    assert end.value.code == 1
    assert "the stream ended; given up after 0 s" in capsys.readouterr().err.splitlines()[-1]
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["counts"]["frames"] == 1
    assert children() == set()


def test_a_video_at_real_pace_takes_its_time_and_says_so(digits_artifact: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 10)  # at 25 frames a second
    with pytest.raises(SystemExit) as end:
        main(frozen_run(digits_artifact, video, tmp_path / "report", "--pace", "real"))
    assert end.value.code == 0
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["pace"] == "real"
    assert summary["duration_s"] >= 0.36
    counts = summary["source_counts"]
    assert counts["delivered"] + counts["dropped"] == 10
    assert counts["missing"] == 0
    assert summary["latency_ms"]["age"]["count"] == counts["delivered"]


def test_a_pace_that_does_not_fit_is_wrong_usage(
    digits_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.jpg").write_bytes(jpeg(10))
    with pytest.raises(SystemExit) as end:
        main(frozen_run(digits_artifact, tmp_path / "pictures", tmp_path / "report", "--pace", "real"))
    assert end.value.code == 2
    assert "pictures, which have no clock" in capsys.readouterr().err
