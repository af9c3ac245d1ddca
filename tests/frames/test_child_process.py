"""The process that reads a live source: what happens to it, and what it leaves behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames import child_process
from moase_edge.frames.child_process import ChildGrabber
from moase_edge.frames.open import open_source
from moase_edge.frames.wire import FRAME, OPENED, Message, pack
from tests.frames.processes import children, held, is_gone, the_child, wait_for
from tests.frames.servers import PATIENCE_S, STALL, jpeg, mjpeg_server, part

pytestmark = pytest.mark.usefixtures("nothing_is_left")

# A stall is noticed soon; nothing else is cut short on a machine that is busy.
QUICK = SourceSettings(open_s=PATIENCE_S, wait_s=1.5, first_pause_s=0.01, most_pause_s=0.05)
PATIENT = QUICK.model_copy(update={"wait_s": PATIENCE_S})


def test_a_source_is_read_by_a_child_that_ends_with_it() -> None:
    with mjpeg_server([part(jpeg(100)), STALL]) as server:
        with open_source(server.uri(), settings=PATIENT) as source:
            before_ns = time.perf_counter_ns()
            frame = next(source.frames())
            assert len(children()) == 1
            assert frame.image.shape == (48, 64, 3)
            assert abs(int(frame.image[0, 0, 0]) - 100) <= 2
            assert frame.captured_ns < time.perf_counter_ns()
            assert frame.captured_ns > before_ns - PATIENCE_S * 1e9  # the child's clock is this process's
            assert frame.image.flags.owndata
        assert children() == set()


def test_whether_a_newer_frame_waits_is_asked_without_waiting_for_one() -> None:
    seen = threading.Event()
    with mjpeg_server([part(jpeg(10)), seen, part(jpeg(20)), STALL], [part(jpeg(30)), STALL]) as server:
        with open_source(server.uri(), settings=PATIENT) as source:
            frames = source.frames()
            next(frames)
            assert not source.waiting
            seen.set()
            wait_for(lambda: source.waiting)
            assert next(frames).index == 1
            os.kill(the_child(), signal.SIGKILL)
            assert not source.waiting
            assert next(frames).index == 2
            assert source.counts.reopened == 1


def test_a_child_that_is_killed_is_replaced() -> None:
    with mjpeg_server([part(jpeg(10)), STALL], [part(jpeg(20)), STALL]) as server:
        with open_source(server.uri(), settings=PATIENT) as source:
            frames = source.frames()
            next(frames)
            os.kill(the_child(), signal.SIGKILL)
            frame = next(frames)
            assert abs(int(frame.image[0, 0, 0]) - 20) <= 2
            assert (frame.index, source.counts.reopened, server.connections) == (1, 1, 2)


def test_a_child_that_hangs_is_ended_and_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child_process, "_END_S", 0.5)
    with mjpeg_server([part(jpeg(10)), STALL], [part(jpeg(20)), STALL]) as server:
        with open_source(server.uri(), settings=QUICK) as source:
            frames = source.frames()
            next(frames)
            hanging = the_child()
            os.kill(hanging, signal.SIGSTOP)
            next(frames)
            assert source.counts.reopened == 1
            assert the_child() != hanging
    assert "its reader hangs and was ended" in caplog.text


def pretended(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Have another program read the source."""
    monkeypatch.setattr(child_process, "_PROGRAM", f"import os, sys, time; sys.stdin.readline(); {program}")


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (b"\xff" * 1000, "bytes that mean nothing"),
        (pack(Message(OPENED)) + b"\x00" * 100, "bytes that mean nothing"),
        (pack(Message(OPENED)) + pack(Message(FRAME, 10**4, 10**4, 3)), "a frame that it does not hold"),
    ],
    ids=["noise", "zeros after a good beginning", "a frame beyond the memory"],
)
def test_a_child_that_answers_garbage_is_ended(monkeypatch: pytest.MonkeyPatch, says: bytes, told: str) -> None:
    pretended(monkeypatch, f"os.write(1, {says!r}); time.sleep(1000)")
    monkeypatch.setattr(child_process, "_END_S", 0.5)
    with pytest.raises(SourceError, match=f"source lost: http://x/: its reader .*{told}"):
        grabber = ChildGrabber("http://x/", PATIENT, stopped=lambda: False)
        with closing(grabber):
            grabber.grab(lambda: False)


def test_a_child_that_dies_while_opening_shows_its_last_words_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretended(monkeypatch, "sys.exit('cannot read http://admin:pa55word@x/')")
    with pytest.raises(SourceError) as caught:
        ChildGrabber("http://admin:pa55word@x/", PATIENT, stopped=lambda: False)
    assert "its reader ended with code 1 (cannot read http://***@x/)" in str(caught.value)
    assert "pa55word" not in str(caught.value)


def test_opening_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pretended(monkeypatch, "time.sleep(1000)")
    monkeypatch.setattr(child_process, "_END_S", 0.5)
    ChildGrabber("http://x/", PATIENT, stopped=lambda: True).close()


def test_the_password_is_in_no_command_line_and_in_no_environment() -> None:
    with mjpeg_server([part(jpeg(1)), STALL], password="admin:pa55word") as server:
        with open_source(server.uri("admin:pa55word@"), settings=PATIENT) as source:
            next(source.frames())
            process = Path(f"/proc/{the_child()}")
            assert b"pa55word" not in (process / "cmdline").read_bytes()
            assert b"pa55word" not in (process / "environ").read_bytes()
            assert "pa55word" not in source.name


@pytest.mark.slow
def test_a_hundred_outages_leave_nothing_behind() -> None:
    with mjpeg_server([part(jpeg(1))]) as server:
        with open_source(server.uri(), settings=PATIENT) as source:
            frames = source.frames()
            next(frames)
            before = held()
            for _ in range(100):
                next(frames)
            assert source.counts.reopened == 100
            assert len(children()) == 1
            for left, there_before in zip(held()[1:], before[1:], strict=True):
                assert left <= there_before


PROGRAM = """
import sys, time
from moase_edge.frames.open import open_source
source = open_source(sys.argv[1])
next(source.frames())
print("reading", flush=True)
time.sleep(1000)
"""


def test_the_child_of_a_process_that_is_killed_ends() -> None:
    with mjpeg_server([part(jpeg(1)), STALL]) as server:
        command = [sys.executable, "-c", PROGRAM, server.uri()]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"reading\n"
            listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
            (child,) = map(int, listed)
            parent.kill()
        wait_for(lambda: is_gone(child))


@pytest.mark.parametrize("call", ["memfd_create", "mmap"])
def test_what_the_system_refuses_is_a_source_that_cannot_be_had(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with mjpeg_server([part(jpeg(10)), STALL]) as server:
        with monkeypatch.context() as patch:
            patch.setattr(*((os, call) if call == "memfd_create" else (child_process.mmap, call)), none_left)
            with pytest.raises(SourceError, match="Too many open files"):
                with closing(ChildGrabber(server.uri(), PATIENT, stopped=lambda: False)) as grabber:
                    grabber.grab(lambda: False)


def test_the_reader_imports_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a stranger was imported')")
    monkeypatch.chdir(tmp_path)
    with mjpeg_server([part(jpeg(10)), STALL]) as server:
        with open_source(server.uri(), settings=PATIENT) as source:
            assert next(source.frames()).index == 0
