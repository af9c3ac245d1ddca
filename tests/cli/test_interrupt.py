"""Signals before a command has anything to keep: one line, 128 plus the number, no traceback, no files."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
