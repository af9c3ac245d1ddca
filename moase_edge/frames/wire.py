"""What the child that reads a source and the process that asked for it say to each other.

The parent writes one request, a line of JSON, to the child's standard input, then `NEXT` for each frame that it
wants; the end of that input ends the child. The child answers on a pipe with a header of fixed size: OPENED or
LOST once, then FRAME or LOST for each `NEXT`, and STATE for each `PEEK`. The pixels of a frame stand at the start
of memory that both have mapped, and stay as they are until the next `NEXT`; a text follows the header of LOST.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from moase_edge.errors import SourceError

NEXT, PEEK = b"n", b"p"
OPENED, FRAME, LOST, STATE = 1, 2, 3, 4
MOST_BYTES = 2**29  # of a frame: 16384 x 8192 pixels in BGRA

_MAGIC = b"MoEd"
_MOST_TEXT = 4096
_HEADER = struct.Struct("<4sBBBxIIQQQI")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True)
class Message:
    """One answer of the child.

    Attributes:
        kind: OPENED, FRAME, LOST or STATE.
        height, width, channels, bits: of the frame, whose rows follow one another without gaps.
        index: of the frame, counting every frame that the child read, from 0; of STATE, how many frames wait.
        captured_ns: monotonic clock at which the child had it; the same clock in all processes of a machine.
        failed_reads: reads so far that gave no frame.
        text: why the source is lost.
    """

    kind: int
    height: int = 0
    width: int = 0
    channels: int = 0
    bits: int = 8
    index: int = 0
    captured_ns: int = 0
    failed_reads: int = 0
    text: str = ""

    @property
    def nbytes(self) -> int:
        """Size of the frame in memory."""
        return self.height * self.width * self.channels * self.bits // 8


def pack(message: Message) -> bytes:
    """The bytes of a message."""
    text = message.text.encode("utf-8", "replace")[:_MOST_TEXT]
    return (
        _HEADER.pack(
            _MAGIC,
            message.kind,
            message.channels,
            message.bits,
            message.height,
            message.width,
            message.index,
            message.captured_ns,
            message.failed_reads,
            len(text),
        )
        + text
    )


def unpack(read_exactly: Callable[[int], bytes]) -> Message:
    """The next message.

    Args:
        read_exactly: gives so many bytes of the pipe, or raises.

    Raises:
        SourceError: what came is no message of this protocol.
    """
    magic, kind, channels, bits, height, width, index, captured_ns, failed, length = _HEADER.unpack(
        read_exactly(HEADER_BYTES)
    )
    if magic != _MAGIC or kind not in (OPENED, FRAME, LOST, STATE) or length > _MOST_TEXT:
        raise SourceError("its reader answered with bytes that mean nothing")
    text = read_exactly(length).decode("utf-8", "replace")
    message = Message(kind, height, width, channels, bits, index, captured_ns, failed, text)
    if kind == FRAME and not (channels in (1, 3, 4) and bits in (8, 16) and 0 < message.nbytes <= MOST_BYTES):
        raise SourceError(f"its reader offers a frame of {height} x {width} x {channels} with {bits} bits")
    return message
