"""Streams that FFmpeg reads: MPEG-TS over UDP, and RTSP from a server of Debian's."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from moase_edge.config.source import SourceSettings
from moase_edge.errors import SourceError
from moase_edge.frames.mjpeg import open_http
from moase_edge.frames.open import open_source
from moase_edge.frames.stream import StreamProducer, ffmpeg_options
from tests.debian import needs_debian
from tests.frames.processes import wait_for
from tests.frames.servers import PATIENCE_S, mjpeg_server
from tests.frames.test_child_process import QUICK
from tests.frames.test_video import write_video

pytestmark = pytest.mark.usefixtures("nothing_is_left")

DATAGRAM = 7 * 188  # packets of a transport stream
SLOW = QUICK.model_copy(update={"wait_s": 2.0})


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A second of MPEG-2 video, then one of another size."""
    path = tmp_path_factory.mktemp("ts") / "x.ts"
    data = b""
    for width, height in ((64, 48), (128, 96)):
        size = (width, height)
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MPG2"), 25, size)
        assert writer.isOpened()
        for level in range(100, 125):
            writer.write(np.full((height, width, 3), level, np.uint8))
        writer.release()
        data += path.read_bytes()
    return data


class UdpSender:
    """Sends a stream over and over to a port of this machine, while it is `on`."""

    def __init__(self, data: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.on = threading.Event()
        self.ended = threading.Event()
        self._data = data

    def run(self) -> None:
        datagrams = [self._data[i : i + DATAGRAM] for i in range(0, len(self._data), DATAGRAM)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while self.on.wait() and not self.ended.is_set():
                for datagram in datagrams:
                    sender.sendto(datagram, ("127.0.0.1", self.port))
                    self.ended.wait(0.005)


@contextmanager
def udp_sender(data: bytes) -> Iterator[UdpSender]:
    sender = UdpSender(data)
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        yield sender
    finally:
        sender.ended.set()
        sender.on.set()
        thread.join(PATIENCE_S)


def test_a_udp_stream_is_read_and_found_again_after_a_stall(transport_stream: bytes) -> None:
    with udp_sender(transport_stream) as sender:
        sender.on.set()
        with open_source(f"udp://127.0.0.1:{sender.port}", settings=SLOW) as source:
            frames = source.frames()
            shape = next(frames).image.shape
            assert shape in ((48, 64, 3), (96, 128, 3))
            while (frame := next(frames)).index < 60:  # both sizes come by, and OpenCV scales to the first
                assert frame.image.shape == shape
                assert 90 < frame.image.mean() < 135
            sender.on.clear()

            def send_again() -> None:
                wait_for(lambda: source.trouble is not None)
                sender.on.set()

            again = threading.Thread(target=send_again)
            again.start()
            wait_for(lambda: next(frames) is not None and source.counts.reopened > 0)
            again.join(PATIENCE_S)


def test_a_udp_port_that_nobody_sends_to_is_refused_in_time() -> None:
    with udp_sender(b"") as sender:
        quick = SLOW.model_copy(update={"open_s": 0.5})
        with pytest.raises(SourceError, match=rf"the stream udp://127.0.0.1:{sender.port} cannot be opened"):
            open_source(f"udp://127.0.0.1:{sender.port}", settings=quick)


def test_a_video_file_over_http_is_no_live_stream(tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", frames=3).read_bytes()
    with mjpeg_server([video]) as server:
        server.content_type = "video/x-msvideo"
        with pytest.raises(SourceError, match=r"/live is a video of 3 frames, not a live stream; download it"):
            open_http(server.uri(), SLOW)


def test_rtsp_goes_over_tcp_unless_told_otherwise() -> None:
    assert ffmpeg_options("RTSP://x", SourceSettings()).endswith("|rtsp_transport;tcp")
    assert ffmpeg_options("rtsp://x", SourceSettings(rtsp_transport="udp")).endswith("|rtsp_transport;udp")
    assert "rtsp" not in ffmpeg_options("udp://127.0.0.1:1", SourceSettings())


def test_options_that_the_user_has_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    class Capture:
        def __init__(self, *arguments: object) -> None:
            import os

            seen.append(os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS"))

        def isOpened(self) -> bool:  # noqa: N802
            return True

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)
    StreamProducer("rtsp://x", SourceSettings())
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp")
    StreamProducer("rtsp://x", SourceSettings())
    assert seen == ["fflags;nobuffer|rtsp_transport;tcp", "rtsp_transport;udp"]


RTSP_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
media = GstRtspServer.RTSPMediaFactory()
media.set_launch(sys.argv[2])
server.get_mount_points().add_factory("/live", media)
if len(sys.argv) > 3:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    role = Gst.Structure.new_empty("user")
    role.set_value("media.factory.access", True)
    role.set_value("media.factory.construct", True)
    media.add_role_from_structure(role)
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*sys.argv[3].split(":")), token)
    server.set_auth(auth)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
H264 = (
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! "
    "x264enc tune=zerolatency key-int-max=15 ! rtph264pay name=pay0 pt=96 )"
)
PYTHON_OF_DEBIAN = "/usr/bin/python3"


class RtspServer:
    """GStreamer's RTSP server in a process of its own."""

    def __init__(self, port: int = 0, password: str | None = None) -> None:
        command = [PYTHON_OF_DEBIAN, "-c", RTSP_SERVER, str(port), H264, *([password] if password else [])]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            self.end()
        self.port = int(said)

    def uri(self, credentials: str = "", path: str = "live") -> str:
        return f"rtsp://{credentials}127.0.0.1:{self.port}/{path}"

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.mark.debian
def test_an_rtsp_stream_is_read_and_found_again_when_its_server_restarts() -> None:
    needs_debian("gst-launch-1.0", "gst-rtsp-server", "x264enc")
    server = RtspServer()
    restarted: list[RtspServer] = []
    try:
        with open_source(server.uri(), settings=SLOW) as source:
            frames = source.frames()
            assert next(frames).image.shape == (240, 320, 3)
            server.end()

            def restart() -> None:
                wait_for(lambda: source.trouble is not None)
                restarted.append(RtspServer(server.port))

            again = threading.Thread(target=restart)
            again.start()
            wait_for(lambda: next(frames) is not None and source.counts.reopened > 0)
            again.join(PATIENCE_S)
            assert source.counts.delivered >= 2
    finally:
        for one in (server, *restarted):
            one.end()


@pytest.mark.debian
def test_an_rtsp_server_that_refuses_is_quoted_without_the_password() -> None:
    needs_debian("gst-launch-1.0", "gst-rtsp-server", "x264enc")
    server = RtspServer(password="admin:pa55word")
    try:
        with open_source(server.uri("admin:pa55word@"), settings=SLOW) as source:
            assert next(source.frames()).image.shape == (240, 320, 3)
            assert source.name == f"rtsp://***@127.0.0.1:{server.port}/live"
        for uri, reason in ((server.uri("admin:wr0ng@"), "401"), (server.uri("admin:pa55word@", "x"), "404")):
            with pytest.raises(SourceError, match=reason) as caught:
                open_source(uri, settings=SLOW)
            assert "pa55word" not in str(caught.value)
            assert "wr0ng" not in str(caught.value)
    finally:
        server.end()


def test_an_rtsp_server_that_does_not_exist_is_refused_at_once(tmp_path: Path) -> None:
    with udp_sender(b"") as nobody:
        with pytest.raises(SourceError, match=r"cannot be opened \(.*Connection refused") as caught:
            open_source(f"rtsp://admin:pa55word@127.0.0.1:{nobody.port}/live", settings=SLOW)
    assert "pa55word" not in str(caught.value)
