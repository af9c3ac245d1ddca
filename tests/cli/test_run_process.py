"""`run` as a process among others: pipes, signals, full disks."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import termios
from array import array
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from tests.cli.commands import COMMAND, call, environment, start, write_pictures, write_video

# Far more frames than any test waits for.
ENDLESS = 20_000


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("long") / "long.avi", ENDLESS, size=(32, 32))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("frames") / "pictures", 6)


def frozen_run(artifact: Path, source: Path, report: Path, *more: object) -> list[object]:
    """Without PyTorch, whose import takes longer than all else here."""
    return ["run", "--adapt", "off", "--artifact", artifact, "--source", source, "--report", report, *more]


def report_of(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary and the journal of a report that is complete and valid."""
    assert (folder / "report.html").read_text().rstrip().endswith("</html>")
    summary = json.loads((folder / "summary.json").read_text())
    return summary, [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def test_emitted_answers_have_standard_output_for_themselves(
    digits_artifact: Path, pictures: Path, tmp_path: Path
) -> None:
    done = call(frozen_run(digits_artifact, pictures, tmp_path / "report", "--emit", "jsonl:-"))
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["name"] for answer in answers] == [f"{index}.png" for index in range(6)]
    assert all(0 <= answer["prediction"] < 10 and not answer["adapted"] for answer in answers)
    _, journal = report_of(tmp_path / "report")
    for answer, line in zip(answers, journal, strict=True):
        assert answer.items() <= line.items()
    assert "Latency (ms)" in done.stderr
    assert f"report: {tmp_path / 'report' / 'report.html'}" in done.stderr


def test_without_a_terminal_standard_output_holds_the_final_figures_alone(
    digits_artifact: Path, pictures: Path, tmp_path: Path
) -> None:
    done = call(frozen_run(digits_artifact, pictures, tmp_path / "report"))
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[0] == "Latency (ms)"
    assert lines[-1] == f"report: {tmp_path / 'report' / 'report.html'}"
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.count("Frames: 6") == 1
    said = dict(line.split(maxsplit=1) for line in done.stderr.splitlines())
    assert said["source"] == str(pictures)
    assert said["adapt"] == "off"
    assert list(said) == ["artifact", "engine", "source", "adapt"]


def test_a_reader_that_wants_one_line_gets_it_and_the_report_is_written(
    digits_artifact: Path, long_video: Path, tmp_path: Path
) -> None:
    with start(frozen_run(digits_artifact, long_video, tmp_path / "report", "--emit", "jsonl:-")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = json.loads(process.stdout.readline())
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 0, said
    assert first["frame"] == 0
    assert "Exception ignored" not in said
    assert "BrokenPipe" not in said
    summary, journal = report_of(tmp_path / "report")
    assert summary["ended"] == "the reader of the answers went away"
    assert 1 <= len(journal) == summary["counts"]["frames"] < ENDLESS


def call_onto_a_full_disk(arguments: list[object]) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, its standard output on a disk without space."""
    with Path("/dev/full").open("w") as full:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )


def test_a_full_disk_behind_standard_output_is_one_error(
    digits_artifact: Path, pictures: Path, tmp_path: Path
) -> None:
    arguments = frozen_run(digits_artifact, pictures, tmp_path / "report", "--emit", "jsonl:-")
    done = call_onto_a_full_disk(arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: cannot emit to <stdout>: No space left on device")
    assert "Exception ignored" not in done.stderr
    summary, _ = report_of(tmp_path / "report")
    assert summary["ended"].startswith("an error stopped it: cannot emit")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_run_with_a_valid_report(
    number: signal.Signals, code: int, digits_artifact: Path, long_video: Path, tmp_path: Path
) -> None:
    with start(frozen_run(digits_artifact, long_video, tmp_path / "report", "--emit", "jsonl:-")) as process:
        assert process.stdout is not None
        # Not a line: what its buffer took beyond would not come from `communicate`.
        first = os.read(process.stdout.fileno(), 1).decode()
        process.send_signal(number)
        rest, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    answers = [json.loads(line) for line in (first + rest).splitlines()]
    summary, journal = report_of(tmp_path / "report")
    assert summary["ended"] == "it was interrupted"
    assert (
        [line["frame"] for line in journal] == [answer["frame"] for answer in answers] == list(range(len(journal)))
    )
    assert len(journal) == summary["counts"]["frames"] < ENDLESS
    assert "report: " in said


def test_an_interrupted_run_that_adapts_keeps_its_report_too(
    tracked_artifact: Path, long_video: Path, tmp_path: Path
) -> None:
    arguments = ["run", "--artifact", tracked_artifact, "--source", long_video, "--report", tmp_path / "report"]
    with start([*arguments, "--emit", "jsonl:-"]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    summary, journal = report_of(tmp_path / "report")
    assert summary["counts"]["updates"] == sum(line["update"] is not None for line in journal) > 0
    assert summary["adaptation"]["rollbacks"] == 0
    assert all(line["adapted"] for line in journal)


def test_a_second_signal_ends_the_process_at_once(digits_artifact: Path, long_video: Path, tmp_path: Path) -> None:
    with start(frozen_run(digits_artifact, long_video, tmp_path / "report", "--emit", "jsonl:-")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        wait_until_full(process.stdout.fileno())
        # Nobody reads the answers, so the run hangs in a write, and the first signal alone would change nothing.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        said = process.stderr.read()
    assert process.returncode in (130, 143), said  # whichever was heard last
    assert "Traceback" not in said
    assert json.loads((tmp_path / "report" / "summary.json").read_text()) == {"ended": None}


def wait_until_full(descriptor: int, *, deadline_s: float = 60) -> None:
    """Wait until a pipe, made as small as it can be, has no room for another line."""
    size = fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 4096)
    until_s = monotonic() + deadline_s
    waiting = array("i", [0])
    while waiting[0] < size - 512:
        assert monotonic() < until_s, f"{waiting[0]} of {size} bytes came"
        sleep(0.01)
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)


def test_a_signal_that_is_ignored_stays_ignored(digits_artifact: Path, pictures: Path, tmp_path: Path) -> None:
    arguments = frozen_run(digits_artifact, pictures, tmp_path / "report", "--emit", "jsonl:-")
    with start(arguments, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert len(report_of(tmp_path / "report")[1]) == 6


def test_a_disk_that_fills_up_costs_journal_lines_and_no_answers(digits_artifact: Path, tmp_path: Path) -> None:
    """A limit on file size stands for the disk: the journal passes it, the smaller files of the report do not."""
    frames = 600
    video = write_video(tmp_path / "video.avi", frames, size=(32, 32))
    limit_bytes = 150_000
    arguments = [*frozen_run(digits_artifact, video, tmp_path / "report"), "--emit", "jsonl:-"]
    # Without plots, whose PNG files would pass the limit too.
    program = "import sys; sys.modules['matplotlib'] = None\nfrom moase_edge.cli import main; main()"
    done = subprocess.run(
        [COMMAND[0], "-c", program, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)),
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == list(range(frames))
    summary, journal = report_of(tmp_path / "report")
    assert summary["journal_lines_lost"] > 0
    assert len(journal) + summary["journal_lines_lost"] == frames
    assert (tmp_path / "report" / "frames.jsonl").stat().st_size <= limit_bytes
    assert done.stderr.count("journal: ") == 1
    assert f"journal lines lost: {summary['journal_lines_lost']}" in done.stderr


@pytest.mark.parametrize("descriptor", [1, 2])
def test_a_stream_that_was_closed_beforehand_costs_nothing_but_what_it_would_show(
    descriptor: int, digits_artifact: Path, pictures: Path, tmp_path: Path
) -> None:
    more = ("--emit", "jsonl:-") if descriptor == 2 else ()
    arguments = frozen_run(digits_artifact, pictures, tmp_path / "report", *more)
    with start(arguments, preexec_fn=lambda: os.close(descriptor)) as process:
        out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert len(report_of(tmp_path / "report")[1]) == len(out.splitlines() if more else range(6)) == 6


def test_a_full_disk_behind_the_figures_is_one_error(
    digits_artifact: Path, pictures: Path, tmp_path: Path
) -> None:
    arguments = frozen_run(digits_artifact, pictures, tmp_path / "report")
    done = call_onto_a_full_disk(arguments)
    assert done.returncode == 1
    assert "No space left on device. Check where standard output leads" in done.stderr
    assert "fault of moase-edge" not in done.stderr


def test_paths_that_are_no_utf8_work_from_end_to_end(digits_artifact: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(digits_artifact, odd / "artifact")
    video = write_video(tmp_path / "video.avi", 3, size=(32, 32)).rename(odd / "video.avi")
    arguments = ["run", "--artifact", odd / "artifact", "--source", video, "--report", odd / "report"]
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment({"PYTHONIOENCODING": "utf-8:strict"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "report/report.html" in done.stdout
    assert len(report_of(odd / "report")[1]) == 3


def test_default_reports_go_to_folders_of_their_own(digits_artifact: Path, pictures: Path, tmp_path: Path) -> None:
    arguments = ["run", "--adapt", "off", "--artifact", digits_artifact, "--source", pictures]
    with start(arguments, cwd=tmp_path) as one, start(arguments, cwd=tmp_path) as other:
        assert [process.communicate(timeout=60) and process.returncode for process in (one, other)] == [0, 0]
    reports = list((tmp_path / "reports").iterdir())
    assert len(reports) == 2
    assert all(len(report_of(folder)[1]) == 6 for folder in reports)


def test_a_path_with_odd_characters_is_shown_as_it_is(
    digits_artifact: Path, pictures: Path, tmp_path: Path
) -> None:
    report = tmp_path / "[bold]a b"
    done = call(frozen_run(digits_artifact, pictures, report))
    assert done.returncode == 0, done.stderr
    assert f"report: {report / 'report.html'}" in done.stdout
    assert list(tmp_path.iterdir()) == [report]
