from __future__ import annotations

import io
import socket
import threading
from itertools import islice

import pytest

from moase_edge.errors import SourceError
from moase_edge.frames.mjpeg import MjpegProducer, open_http
from moase_edge.frames.open import open_source
from tests.frames.servers import STALL, jpeg, mjpeg_server, part
from tests.frames.test_child_process import PATIENT, QUICK

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def levels(body: bytes, boundary: str = "frame") -> list[int | None]:
    """The grey of each picture, None for a part that is none, up to the end of the body."""
    producer = MjpegProducer(io.BytesIO(body), boundary)
    found: list[int | None] = []
    with pytest.raises(SourceError, match="the stream ended"):
        while True:
            image = producer.read()
            found.append(None if image is None else round(float(image.mean()) / 10) * 10)
    return found


END = b"--frame--\r\n"


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("boundary", ["frame", "--frame"])
def test_every_picture_is_found_with_and_without_its_length(length: bool, boundary: str) -> None:
    body = b"".join(part(jpeg(level), length=length) for level in (10, 20, 30)) + END
    assert levels(body, boundary) == [10, 20, 30]


def test_what_stands_before_and_between_the_pictures_is_passed_over() -> None:
    body = b"preamble\r\n" + part(jpeg(10)) + b"\x00\xff garbage \r\n" * 50 + part(jpeg(20)) + END
    assert levels(body) == [10, 20]


@pytest.mark.parametrize("wrong", [b"", b"no picture", jpeg(10)[:100], b"\xff\xd8\xff" + b"\x00" * 50])
def test_a_part_that_is_no_picture_is_passed_over(wrong: bytes) -> None:
    found = levels(part(wrong) + part(jpeg(20)) + END)
    assert len(found) == 2
    assert found[1] == 20


def test_a_length_that_is_wrong_costs_that_picture_only() -> None:
    lying = part(jpeg(10)).replace(b"Content-Length: ", b"Content-Length: 1")
    short = part(jpeg(10)).replace(b"Content-Length: ", b"Content-Length: 0")
    assert levels(short + part(jpeg(20)) + END) == [10, 20]
    assert levels(lying + part(jpeg(20)) * 20 + END)[-1] == 20


def test_a_stream_of_anything_but_pictures_is_refused() -> None:
    producer = MjpegProducer(io.BytesIO(part(b"text") * 100), "frame")
    with pytest.raises(SourceError, match="none of the last 100 parts is a picture"):
        while producer.read() is None:
            pass


def test_an_answer_that_stops_half_way_is_an_end() -> None:
    with pytest.raises(SourceError, match="in the midst of a picture"):
        MjpegProducer(io.BytesIO(part(jpeg(10))[:-100]), "frame").read()


def test_pictures_that_change_their_size_are_delivered_as_they_are() -> None:
    first_was_seen = threading.Event()
    script = [part(jpeg(10)), first_was_seen, part(jpeg(20, height=96, width=128)), STALL]
    with mjpeg_server(script) as server, open_source(server.uri(), settings=PATIENT) as source:
        frames = source.frames()
        assert next(frames).image.shape == (48, 64, 3)
        first_was_seen.set()
        assert next(frames).image.shape == (96, 128, 3)
        assert (source.counts.resized, source.counts.size) == (1, (96, 128))


def test_garbage_between_pictures_is_counted_and_the_stream_goes_on() -> None:
    first_was_seen = threading.Event()
    script = [
        part(jpeg(10)),
        first_was_seen,
        b"\xff" * 10_000 + b"\r\n",
        part(b"\xff\xd8nonsense"),
        part(jpeg(20)),
        STALL,
    ]
    with mjpeg_server(script) as server, open_source(server.uri(), settings=PATIENT) as source:
        frames = source.frames()
        next(frames)
        first_was_seen.set()
        assert round(float(next(frames).image.mean())) in range(18, 23)
        assert (source.counts.decode_errors, source.counts.reopened, server.connections) == (1, 0, 1)


@pytest.mark.parametrize("script", [[part(jpeg(10)), STALL], [part(jpeg(10))], [part(jpeg(10)), b"\xff" * 100]])
def test_a_stream_that_stalls_or_breaks_off_is_opened_again(script: list[bytes | None]) -> None:
    with mjpeg_server(script, [part(jpeg(20)), STALL]) as server:
        with open_source(server.uri(), settings=QUICK if STALL in script else PATIENT) as source:
            first, second = islice(source.frames(), 2)
            assert round(float(first.image.mean())) in range(8, 13)
            assert round(float(second.image.mean())) in range(18, 23)
            assert (source.counts.reopened, server.connections) == (1, 2)


def test_a_server_that_is_gone_is_waited_for_and_found_again() -> None:
    with mjpeg_server([part(jpeg(10))]) as server:
        uri, settings = server.uri(), PATIENT.model_copy(update={"give_up_after_s": 0.2})
        with open_source(uri, settings=settings) as source:
            frames = source.frames()
            next(frames)
            server.shutdown()
            server.server_close()
            with pytest.raises(SourceError, match=r"source lost: .*the stream ended; given up after 0.2 s"):
                next(frames)


@pytest.mark.parametrize("digest", [False, True])
def test_the_password_is_asked_for_and_given(digest: bool) -> None:
    script = [part(jpeg(10)), STALL]
    with mjpeg_server(script, password="admin:p@ss/word") as server:
        server.digest = digest
        with pytest.raises(SourceError, match=r"answered 401 Unauthorized; give name and password"):
            open_http(server.uri(), PATIENT)
        with pytest.raises(SourceError, match=r"answered 401 .*check those that were given") as caught:
            open_source(server.uri("admin:wr0ng@"), settings=PATIENT)
        assert "wr0ng" not in str(caught.value)
        with open_source(server.uri("admin:p%40ss%2Fword@"), settings=PATIENT) as source:
            assert next(source.frames()).image.shape == (48, 64, 3)


def test_a_path_that_does_not_exist_is_refused_at_once() -> None:
    with mjpeg_server() as server:
        with pytest.raises(SourceError, match=r"/other answered 404 Not Found; the camera's manual"):
            open_http(server.uri().replace("/live", "/other"), PATIENT)


def test_a_server_that_accepts_and_says_nothing_is_refused_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(SourceError, match="cannot be reached: timed out"):
            open_http(uri, PATIENT.model_copy(update={"open_s": 0.1}))


def test_a_server_that_does_not_exist_is_refused_at_once() -> None:
    with mjpeg_server() as server:
        uri = server.uri("admin:pa55word@")
    with pytest.raises(SourceError, match=r"http://\*\*\*@127.0.0.1:[0-9]+/live cannot be reached: .*refused"):
        open_source(uri, settings=PATIENT)
