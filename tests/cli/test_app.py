"""How the command line ends, whatever happens below it."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moase_edge import errors
from moase_edge.artifact import store
from moase_edge.cli import main
from moase_edge.errors import MoaseEdgeError
from tests.blocked import run_blocked
from tests.cli.commands import call

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MoaseEdgeError)]


def end_of(exc: Exception, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """Exit code of `inspect` where reading the artifact raises `exc`."""

    def fail(*arguments: object, **options: object) -> None:
        raise exc

    monkeypatch.setattr(store, "load_artifact", fail)
    with pytest.raises(SystemExit) as end:
        main(["inspect", "anything", *more])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.parametrize("kind", ERRORS)
def test_each_error_ends_with_its_own_code_and_one_line(
    kind: type[MoaseEdgeError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(kind("got this, expected that; do so."), monkeypatch) == kind.exit_code
    shown = capsys.readouterr()
    assert shown.err == "error: got this, expected that; do so.\n"
    assert shown.out == ""


def test_an_error_that_nobody_foresaw_shows_one_line_and_the_way_to_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(ZeroDivisionError("by zero"), monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: unexpected ZeroDivisionError: by zero.")
    assert "--debug" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("exc", [ZeroDivisionError("by zero"), errors.ArtifactError("changed")])
def test_debug_raises_instead(exc: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "load_artifact", lambda *_: (_ for _ in ()).throw(exc))
    with pytest.raises(type(exc)):
        main(["inspect", "anything", "--debug"])


def test_debug_may_stand_anywhere_and_shows_a_traceback(tmp_path: Path) -> None:
    for arguments in (["--debug", "inspect", tmp_path / "absent"], ["inspect", tmp_path / "absent", "--debug"]):
        done = call(arguments)
        assert done.returncode == 1
        assert "Traceback" in done.stderr
        assert "ArtifactError: no artifact at" in done.stderr


def test_without_debug_there_is_no_traceback(tmp_path: Path) -> None:
    done = call(["inspect", tmp_path / "absent"])
    assert done.returncode == 4
    assert done.stderr.startswith("error: no artifact at")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--adapt"],
        ["run", "--max-frames", "0"],
        ["run", "--camera", "-1"],
        ["run", "--engine", "tensorrt"],
        ["run", "--web", "0.0.0.0:80"],
        ["demo", "--frames", "9"],
        ["demo", "--seed", "-1"],
        ["export"],
        ["export", "--backbone", "vit_b16", "--preset", "best"],
        ["fly"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_unwind_a_command_so_that_it_can_clean_up(number: signal.Signals) -> None:
    program = f"""
import os
from moase_edge.artifact import store
from moase_edge.cli import main

def interrupted(*arguments, **options):
    try:
        os.kill(os.getpid(), {int(number)})
    finally:
        print("cleaned up")

store.load_artifact = interrupted
main(["inspect", "anything"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (128 + number, "cleaned up\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_debug_speaks_of_this_package_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = logging.getLogger("moase_edge")
    before = ours.level
    try:
        for option, level in (["--debug"], logging.DEBUG), ([], logging.WARNING):
            with pytest.raises(SystemExit):
                main(["--version", *option])
            assert ours.level == level
        assert logging.getLogger().level >= logging.WARNING
    finally:
        ours.setLevel(before)


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["export", "--backbone", "digits_vit"], "torch", "moase-edge[export]"),
        (["export", "--backbone", "digits_vit"], "timm", "moase-edge[export]"),
        (["demo"], "torch", "moase-edge[bench,cpu]"),
        (["demo"], "sklearn", "moase-edge[bench]"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    arguments: list[str], missing: str, extra: str, tmp_path: Path
) -> None:
    code = """
    import contextlib, io, sys
    from moase_edge.cli import main
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main(sys.argv[1:])
        except SystemExit as end:
            print(end.code)
    print(said.getvalue())
    """
    shown = run_blocked(code, [missing], [*arguments, "--out", tmp_path / "out"])
    assert shown.startswith("2\n"), shown
    assert extra in shown
    assert "Traceback" not in shown
