"""What a video device of Linux can give, asked of its driver."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

# From linux/videodev2.h: request numbers, and the layout of what they fill.
_QUERY_CAPABILITIES = 0x80685600
_ENUMERATE_FORMATS = 0xC0405602
_CAPABILITIES = struct.Struct("=16s32s32sIII12x")
_FORMAT = struct.Struct("=III32s4sI12x")
_CAPTURE = 1

Ioctl = Callable[[int, int, bytearray], int]


def formats_of(node: Path, ioctl: Ioctl = fcntl.ioctl) -> tuple[str, list[str]]:
    """Name of a device, and the formats of its pictures; none for a node without pictures.

    Args:
        node: `/dev/videoN`.
        ioctl: as `fcntl.ioctl` takes a buffer that it fills.

    Raises:
        OSError: it cannot be opened, or is no video device.
    """
    handle = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    try:
        capabilities = bytearray(_CAPABILITIES.size)
        ioctl(handle, _QUERY_CAPABILITIES, capabilities)
        card = _text(_CAPABILITIES.unpack(capabilities)[1])
        return card, _formats(handle, ioctl)
    finally:
        os.close(handle)


def _formats(handle: int, ioctl: Ioctl) -> list[str]:
    found: list[str] = []
    while True:
        entry = bytearray(_FORMAT.pack(len(found), _CAPTURE, 0, b"", b"", 0))
        try:
            ioctl(handle, _ENUMERATE_FORMATS, entry)
        except OSError as exc:
            if exc.errno in (errno.EINVAL, errno.ENOTTY):  # past the last one, or nothing to capture
                return found
            raise
        _, _, _, description, code, _ = _FORMAT.unpack(entry)
        found.append(f"{_text(code)} ({_text(description)})")


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("ascii", "replace").strip()
