"""Servers on loopback that a test's sources read from."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

Step = bytes | threading.Event | None
STALL = None  # send nothing more, but keep the connection until the server ends
DIGEST = 'Digest realm="camera", nonce="once"'
PATIENCE_S = 60.0  # only ever spent by a test that fails


def jpeg(level: int, height: int = 48, width: int = 64) -> bytes:
    """A grey picture."""
    return cv2.imencode(".jpg", np.full((height, width, 3), level, np.uint8))[1].tobytes()


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def part(body: bytes, *, length: bool = True) -> bytes:
    """A part of a multipart answer with its boundary."""
    stated = f"Content-Length: {len(body)}\r\n".encode() if length else b""
    return b"--frame\r\nContent-Type: image/jpeg\r\n" + stated + b"\r\n" + body + b"\r\n"


class MjpegServer(ThreadingHTTPServer):
    """Answers connection after connection with one script each, the last one again and again.

    A script is bytes to send, events to wait for, STALL.

    Attributes:
        connections: how many there were.
        password: where set, `NAME:PASSWORD` that is asked for.
        digest: whether it is asked for by Digest, not Basic, authentication.
    """

    daemon_threads = False  # closing it waits for them

    def __init__(self, scripts: Sequence[Sequence[Step]], password: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scripts = scripts
        self.password = password
        self.digest = False
        self.content_type = "multipart/x-mixed-replace; boundary=frame"
        self.connections = 0
        self.ended = threading.Event()

    def handle_error(self, *arguments: Any) -> None:
        """A client that has hung up is no error here."""

    def uri(self, credentials: str = "") -> str:
        return f"http://{credentials}127.0.0.1:{self.server_port}/live"


class _Handler(BaseHTTPRequestHandler):
    server: MjpegServer

    def do_GET(self) -> None:
        if self.path != "/live":
            self.send_error(404)
        elif self._refused():
            self.send_response(401)
            self.send_header("WWW-Authenticate", DIGEST if self.server.digest else 'Basic realm="camera"')
            self.end_headers()
        else:
            self._play()

    def _refused(self) -> bool:
        password = self.server.password
        if password is None:
            return False
        said = self.headers.get("Authorization", "")
        if self.server.digest:
            name, _, word = password.partition(":")
            secret = md5(f"{md5(f'{name}:camera:{word}')}:once:{md5('GET:/live')}")
            return f'response="{secret}"' not in said
        return said != f"Basic {base64.b64encode(password.encode()).decode()}"

    def _play(self) -> None:
        script = self.server.scripts[min(self.server.connections, len(self.server.scripts) - 1)]
        self.server.connections += 1
        self.send_response(200)
        self.send_header("Content-Type", self.server.content_type)
        self.end_headers()
        for step in script:
            if isinstance(step, bytes):
                self.wfile.write(step)
            else:
                (self.server.ended if step is STALL else step).wait(PATIENCE_S)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def mjpeg_server(*scripts: Sequence[Step], password: str | None = None) -> Iterator[MjpegServer]:
    """A server that runs until the block ends."""
    with MjpegServer(scripts, password) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join(PATIENCE_S)
