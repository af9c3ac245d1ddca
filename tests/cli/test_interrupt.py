"""Signals before a command has anything to keep: one line, 128 plus the number, no traceback, no files."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moase_edge.cli.interrupt import ended_by_a_second_signal
from tests.cli.commands import environment, write_pictures

# Sends itself the signal where a package is first imported.
PROGRAM = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))

sys.meta_path.insert(0, Interrupting())
from moase_edge.cli import main
main(sys.argv[3:])
"""
# Held in a write to a full pipe, of which signals tell only another thread; as a busy machine has it now and then.
HELD = """
import os, signal, threading, time
from moase_edge.cli.interrupt import ended_by_a_second_signal, handling_signals

_, full = os.pipe()
os.set_blocking(full, False)
try:
    while os.write(full, bytes(4096)):
        pass
except BlockingIOError:
    os.set_blocking(full, True)
with ended_by_a_second_signal(), handling_signals(lambda number, frame: None):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    print("held", flush=True)
    os.write(full, b"one more")
"""
EXPORT = ["export", "--backbone", "digits_vit", "--out", "new/digits"]
NOTHING = "interrupted; nothing was written\n"


def interrupted_at(
    package: str, arguments: list[str], folder: Path, *, number: int = signal.SIGINT
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` that gets a signal when it imports `package`."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, package, str(int(number)), *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("package", "arguments", "line"),
    [
        ("typer", ["inspect"], NOTHING),
        ("torch", EXPORT, NOTHING),
        ("torch", ["demo"], NOTHING),
        ("torch", ["bench"], NOTHING),
        ("numpy", ["run", "--camera", "0"], "interrupted before the first frame; nothing was written\n"),
    ],
)
def test_a_signal_while_packages_are_imported_is_one_line(
    package: str, arguments: list[str], line: str, tmp_path: Path
) -> None:
    done = interrupted_at(package, arguments, tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (130, line, "")
    assert not list(tmp_path.iterdir())


def test_a_signal_while_the_model_is_loaded_leaves_no_report(digits_artifact: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 2)
    arguments = ["run", "--artifact", str(digits_artifact), "--source", str(pictures), "--report", "report"]
    done = interrupted_at("torch", arguments, tmp_path, number=signal.SIGTERM)
    assert done.returncode == 143
    assert done.stderr == "interrupted before the first frame; nothing was written\n"
    assert list(tmp_path.iterdir()) == [pictures]


def test_a_signal_while_the_artifact_is_written_leaves_no_folder(tmp_path: Path) -> None:
    done = interrupted_at("onnxscript", EXPORT, tmp_path, number=signal.SIGTERM)
    assert done.returncode == 143, done.stderr
    assert done.stderr.splitlines()[-1] == NOTHING.strip()
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_signal_that_is_ignored_stays_ignored_at_the_start(tmp_path: Path) -> None:
    program = PROGRAM.replace("\nclass", "\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n\nclass")
    done = subprocess.run(
        [sys.executable, "-c", program, "typer", str(int(signal.SIGHUP)), "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("moase-edge ")


def test_a_second_signal_ends_a_process_whose_main_thread_never_hears_of_it() -> None:
    with subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()


def test_what_wakes_python_on_signals_is_as_before_afterwards() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with ended_by_a_second_signal():
        assert signal.set_wakeup_fd(-1) != before
    assert signal.set_wakeup_fd(before) == before
