from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moase_edge.errors import SourceError
from moase_edge.frames.wire import FRAME, HEADER_BYTES, LOST, Message, pack, unpack


def read_back(data: bytes) -> Message:
    stream = io.BytesIO(data)
    message = unpack(stream.read)
    assert stream.read() == b""
    return message


@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.sampled_from([1, 3, 4]),
    st.sampled_from([8, 16]),
    st.integers(0, 2**63),
    st.integers(0, 2**63),
)
def test_a_frame_is_read_back_as_it_was_written(
    height: int, width: int, channels: int, bits: int, index: int, captured_ns: int
) -> None:
    message = Message(FRAME, height, width, channels, bits, index, captured_ns, failed_reads=3)
    assert read_back(pack(message)) == message


def test_the_reason_of_a_loss_is_read_back_and_a_long_one_is_cut() -> None:
    assert read_back(pack(Message(LOST, text="unplugged é"))).text == "unplugged é"
    assert len(read_back(pack(Message(LOST, text="x" * 10_000))).text) == 4096


def test_a_frame_knows_its_size_in_memory() -> None:
    assert Message(FRAME, height=2, width=3, channels=4, bits=16).nbytes == 48


@given(st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match="bytes that mean nothing"):
        read_back(data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"height": 0},
        {"channels": 2},
        {"bits": 32},
        {"height": 2**31, "width": 2**31},
    ],
)
def test_an_impossible_frame_is_refused(wrong: dict[str, int]) -> None:
    message = Message(FRAME, **{"height": 2, "width": 2, "channels": 3, "bits": 8, **wrong})
    with pytest.raises(SourceError, match="offers a frame of"):
        read_back(pack(message))
