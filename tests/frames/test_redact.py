from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.frames.redact import printable, redact, scheme_of, scrub


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("rtsp://admin:secret@10.0.0.2:554/stream1", "rtsp://***@10.0.0.2:554/stream1"),
        ("rtsp://admin@10.0.0.2/stream1", "rtsp://***@10.0.0.2/stream1"),
        ("rtsp://admin:p@ss/w?o#rd@10.0.0.2/stream1", "rtsp://***@10.0.0.2/stream1"),
        ("admin:secret@10.0.0.2/stream", "***@10.0.0.2/stream"),
        ("rtsp:admin:secret@10.0.0.2", "***@10.0.0.2"),
        ("admin:secret@host/?next=http://x", "***@host/?next=***"),
        ("http://cam/video.cgi?token=abc", "http://cam/video.cgi?token=***"),
        ("http://cam/v?channel=2&loginpas=abc;pwd=x", "http://cam/v?channel=2&loginpas=***;pwd=***"),
        ("http://cam/v?abcdef0123", "http://cam/v?***"),
        ("http://cam/v?channel=1&abcdef", "http://cam/v?channel=1&***"),
        ("http://cam/v?password=", "http://cam/v?password=***"),
        ("http://cam/v#token", "http://cam/v#***"),
        ("rtsp://cam/user=admin&password=x&channel=1", "rtsp://cam/user=***"),
        ("http://cam/live;token=abc/stream", "http://cam/live;token=***"),
    ],
)
def test_credentials_are_hidden(uri: str, expected: str) -> None:
    assert redact(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "0",
        "camera:0",
        "clips/day 1/*.mp4",
        "/data/a@b.mp4",
        "rtsp://10.0.0.2:554/ch1",
        "csi://0",
        "v4l2:/dev/video2",
    ],
)
def test_what_holds_no_credentials_is_kept(uri: str) -> None:
    assert redact(uri) == uri


@given(
    scheme=st.sampled_from(["rtsp", "http", "udp", "x+y"]),
    user=st.text(max_size=8),
    secret=st.text(alphabet="QXZ@:/?#&=%", min_size=3, max_size=12),
)
def test_a_password_of_any_characters_never_shows(scheme: str, user: str, secret: str) -> None:
    shown = redact(f"{scheme}://{user}:{secret}@camera.local/stream")
    assert shown == f"{scheme}://***@camera.local/stream"


@given(st.text(max_size=40))
def test_redacting_twice_changes_nothing_and_all_can_be_printed(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
    assert once.isprintable()


def test_control_characters_and_undecodable_bytes_are_replaced() -> None:
    assert printable("a\x1b[31mb\ncé \udcff") == "a\ufffd[31mb\ufffdcé \ufffd"


@pytest.mark.parametrize(
    ("uri", "scheme"), [("RTSP://host", "rtsp"), ("csi:0", "csi"), ("clips/a:b.mp4", None), ("0", None)]
)
def test_scheme_is_what_stands_before_the_colon(uri: str, scheme: str | None) -> None:
    assert scheme_of(uri) == scheme


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("cannot open rtsp://admin:pa%3Aword@cam/1?token=abc", "cannot open rtsp://***@cam/1?token=***"),
        ("DESCRIBE /1?token=abc failed for admin:pa%3Aword", "DESCRIBE /1?token=*** failed for ***"),
        ("password pa:word is wrong, or pa%3Aword", "password *** is wrong, or ***"),
        ("user admin", "user ***"),
        ("connection to tcp://cam:554 refused", "connection to tcp://cam:554 refused"),
    ],
)
def test_what_a_library_writes_about_an_address_loses_its_secrets(text: str, scrubbed: str) -> None:
    assert scrub(text, "rtsp://admin:pa%3Aword@cam/1?token=abc") == scrubbed


def test_an_address_without_secrets_leaves_a_text_alone() -> None:
    text = "method DESCRIBE of rtsp://cam/1?channel=1 failed: 404"
    assert scrub(text, "rtsp://cam/1?channel=1") == text
