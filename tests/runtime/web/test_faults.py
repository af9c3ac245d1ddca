"""What goes wrong beside a run that goes on: lost sources, full disks, clients that leave, a server that dies."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest
import torch  # noqa: F401 - a snapshot imports it, which would pass for a slow button

from moase_edge.errors import StorageError
from moase_edge.runtime.web import streams
from moase_edge.runtime.web.answers import Asked, Health
from moase_edge.runtime.web.connections import MOST_CONNECTIONS, LimitedConnection
from moase_edge.runtime.web.controls import Refused, press
from moase_edge.runtime.web.streams import MOST_STREAMS
from tests.runtime.web.watched import eventually, watched


def test_a_run_without_answers_is_not_healthy(tmp_path: Path) -> None:
    with watched(tmp_path, state=False) as run:
        assert Health.model_validate(run.json("/healthz")).healthy
        run.source.paused.set()
        eventually(lambda: run.request("/healthz?within_s=0.2")[0] == 503, "ill health")
        assert "no frame was answered for" in run.json("/healthz?within_s=0.2")["reason"]
        run.source.trouble = "source lost 3 s ago"
        assert run.request("/healthz")[0] == 503
        assert b"moase_edge_source_up 0" in run.request("/metrics")[2]
        assert run.json("/api/v1/status")["phase"] == "stalled"
        run.source.trouble = None
        run.source.paused.clear()
        eventually(lambda: run.request("/healthz?within_s=1")[0] == 200, "health")
        run.end()
        assert run.json("/healthz")["reason"] == "the source ended"
        assert run.press("hold") == (409, {"error": "hold: the run has ended."})


def test_a_button_that_the_loop_does_not_come_to_is_taken_back(tmp_path: Path) -> None:
    with watched(tmp_path, state=False) as run:
        run.source.paused.set()
        eventually(lambda: run.request("/healthz?within_s=0.2")[0] == 503)
        with pytest.raises(Refused, match="nothing was done") as caught:
            asyncio.run(press(run.live, "hold", Asked(), wait_s=0.05))
        assert caught.value.status == 504
        run.source.paused.clear()
        frames = run.live.counts.frames["frames"]
        eventually(lambda: run.live.counts.frames["frames"] > frames + 2)
        assert not run.method.held


def test_a_snapshot_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(tmp_path) as run:
        snapshots = run.pipeline.controls.snapshots
        assert snapshots is not None

        def full(_data: bytes) -> Path:
            raise StorageError("the disk is full")

        monkeypatch.setattr(snapshots.folder, "write", full)
        assert run.press("snapshot") == (409, {"error": "snapshot: the disk is full"})
        assert run.json("/healthz")["healthy"]


def test_clients_that_leave_or_read_nothing_hold_up_neither_the_run_nor_each_other(tmp_path: Path) -> None:
    with watched(tmp_path, state=False, noise=True) as run:
        slow = []
        for _ in range(MOST_STREAMS):
            client = socket.create_connection(("127.0.0.1", run.address.port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            slow.append(client)
        eventually(lambda: run.request("/stream.mjpg")[0] == 503, "a refusal of more streams")
        frames = run.json("/api/v1/status")["counts"]["frames"]
        eventually(lambda: run.json("/api/v1/status")["counts"]["frames"] > frames + 20)
        for client in slow:  # a reset, not a goodbye
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

        def free() -> bool:
            connection, answer = run.opened("/stream.mjpg")
            connection.close()
            return answer.status == 200

        eventually(free, "a free place")


def test_a_client_that_takes_no_picture_in_time_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = streams.MjpegResponse.__init__
    monkeypatch.setattr(
        streams.MjpegResponse, "__init__", lambda self, watching: made(self, watching, slowest_s=0.3)
    )
    with watched(tmp_path, state=False, noise=True) as run:
        with socket.create_connection(("127.0.0.1", run.address.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            eventually(lambda: run.server.app.watching.streams == 1)
            eventually(lambda: run.server.app.watching.streams == 0)


def test_connections_that_ask_for_nothing_use_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedConnection, "patience_s", 0.5)
    with watched(tmp_path, state=False) as run, ExitStack() as stack:
        held = run.server._server.server_state.connections
        idle = []
        for _ in range(MOST_CONNECTIONS + 8):
            sleep(0.005)  # more at once wait for the kernel to ask again
            idle.append(stack.enter_context(socket.create_connection(("127.0.0.1", run.address.port))))
        eventually(lambda: len(held) >= MOST_CONNECTIONS or not held)
        assert len(held) <= MOST_CONNECTIONS
        idle[0].sendall(b"GET / HTTP/1.1\r\nHos")  # begun is not asked
        eventually(lambda: not held, "an end of all that asked for nothing")
        assert run.request("/healthz")[0] == 200


def test_a_server_that_dies_is_told_once_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with watched(tmp_path, state=False) as run:

        def broken() -> None:
            raise RuntimeError("out of luck")

        run.server.app.watching.tick = broken  # type: ignore[method-assign]
        eventually(lambda: not run.server.alive, "its end")
        frames = run.live.counts.frames["frames"]
        eventually(lambda: run.live.counts.frames["frames"] > frames + 5)
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1
    assert "out of luck" in told[0]
    assert "The run goes on" in told[0]


def test_it_ends_soon_with_streams_open_and_leaves_no_thread_and_no_handle(tmp_path: Path) -> None:
    def open_handles() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    counts = []
    for number in range(3):
        with watched(tmp_path / str(number), state=False) as run:
            connections = [run.opened(path)[0] for path in ("/stream.mjpg", "/stream.mjpg")]
            waiting = socket.create_connection(("127.0.0.1", run.address.port))  # says nothing
            began_s = monotonic()
            run.server.close()
            assert monotonic() - began_s < 5
            assert not run.server.alive
            waiting.close()
            for connection in connections:
                connection.close()
        counts.append((open_handles(), threading.active_count()))
    assert counts[1] == counts[2]
