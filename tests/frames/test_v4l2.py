from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from moase_edge.frames.v4l2 import formats_of

FORMATS = ((b"MJPG", b"Motion-JPEG"), (b"YUYV", b"YUYV 4:2:2"))


def driver(handle: int, request: int, buffer: bytearray) -> int:
    """Answers as a camera's driver does; checks that the buffers have the sizes that the requests name."""
    assert len(buffer) == (request >> 16) & 0x3FFF
    if request & 0xFF == 0:
        struct.pack_into("=16s32s32s", buffer, 0, b"uvcvideo", b"HD Webcam", b"usb-1")
        return 0
    index, kind = struct.unpack_from("=II", buffer)
    assert kind == 1
    if index >= len(FORMATS):
        raise OSError(errno.EINVAL, "no more")
    struct.pack_into("=32s4s", buffer, 12, FORMATS[index][1], FORMATS[index][0])
    return 0


def test_name_and_formats_are_those_that_the_driver_gives(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    assert formats_of(tmp_path / "video0", driver) == ("HD Webcam", ["MJPG (Motion-JPEG)", "YUYV (YUYV 4:2:2)"])


def test_a_file_that_is_no_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    with pytest.raises(OSError, match="ioctl"):
        formats_of(tmp_path / "video0")
