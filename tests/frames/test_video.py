from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.errors import SourceError
from moase_edge.frames.opencv import quiet_opencv, rgb_from_opencv
from moase_edge.frames.video import VideoSource

FRAMES = 30


def write_video(path: Path, codec: str = "MJPG", *, frames: int = FRAMES, step: int = 8, rate: float = 25) -> Path:
    """Frame i is flat: red `step` i, green 100, blue 0."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (64, 48))
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.full((48, 64, 3), (0, 100, step * i), np.uint8))
    writer.release()
    return path


def reds(source: VideoSource) -> list[int]:
    """Which frame each delivered one is, told by its red."""
    return [round(float(frame.image[..., 0].mean()) / 8) for frame in source.frames()]


def test_every_frame_comes_in_order_in_rgb(tmp_path: Path) -> None:
    ticks = iter(range(1000, 1000 + FRAMES))
    path = write_video(tmp_path / "a.avi")
    with VideoSource(path, clock_ns=lambda: next(ticks)) as source:
        assert (source.name, source.live, source.length) == (str(path), False, FRAMES)
        frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [frame.captured_ns for frame in frames] == list(range(1000, 1000 + FRAMES))
    for i, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags["C_CONTIGUOUS"]
        np.testing.assert_allclose(frame.image.mean((0, 1)), (8 * i, 100, 0), atol=3)
    counts = source.counts
    assert (counts.delivered, counts.missing, counts.converted, counts.resized) == (FRAMES, 0, 0, 0)
    assert counts.size == (48, 64)


def test_a_truncated_video_ends_after_its_last_good_frame(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "a.avi")
    data = path.read_bytes()
    images = data.find(b"movi"), data.find(b"idx1")
    path.write_bytes(data[: sum(images) // 2])
    source = VideoSource(path)
    with caplog.at_level(logging.WARNING):
        seen = reds(source)
    assert 5 < len(seen) < 25
    assert seen == list(range(len(seen)))
    assert source.length == FRAMES
    assert source.counts.delivered == len(seen)
    assert source.counts.missing == FRAMES - len(seen)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"promises {FRAMES} frames, {len(seen)} came" in caplog.text


def test_damage_in_the_middle_costs_only_the_damaged_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "a.mp4", "mp4v", frames=60, step=4)
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + (len(data) - data.find(b"mdat")) // 3
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    source = VideoSource(path)
    with caplog.at_level(logging.WARNING):
        frames = list(source.frames())
    counts = source.counts
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))
    np.testing.assert_allclose(frames[-1].image.mean((0, 1)), (4 * 59, 100, 0), atol=4)
    assert 0 < counts.missing < 15
    assert counts.delivered == len(frames) == 60 - counts.missing
    assert counts.decode_errors > 0
    assert f"promises 60 frames, {len(frames)} came" in caplog.text


def test_an_early_end_is_no_damage(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "a.avi"))
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []
    assert list(source.frames()) == []
    assert (source.counts.delivered, source.counts.missing) == (1, 0)


def test_a_second_pass_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "a.avi", frames=5))
    assert next(source.frames()).index == 0
    assert [frame.index for frame in source.frames()] == [1, 2, 3, 4]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(SourceError, match=r"a\.mp4 is empty \(0 bytes\)"):
        VideoSource(tmp_path / "a.mp4")


@pytest.mark.parametrize("content", [b"hello\n" * 500, bytes(5000), b"RIFF0000AVI LIST"])
@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a"])
def test_what_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=f"no frame of .*{name} can be decoded"):
        VideoSource(tmp_path / name)


def test_a_video_whose_index_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", "mp4v")
    path.write_bytes(path.read_bytes()[:-800])  # MP4 keeps its index at the end
    with pytest.raises(SourceError, match="damaged from its start"):
        VideoSource(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "gone.mp4", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SourceError, match=reason):
            VideoSource(path)


class ScriptedCapture:
    """Stands for cv2.VideoCapture: gives `script`, then nothing; promises `promised` frames."""

    script: ClassVar[list[NDArray[Any] | Exception | None]] = []
    promised: ClassVar[float] = 0.0

    def __init__(self, *arguments: Any) -> None:
        self._rest = list(self.script)

    def get(self, key: int) -> float:
        return self.promised if key == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def read(self) -> tuple[bool, NDArray[Any] | None]:
        given = self._rest.pop(0) if self._rest else None
        if isinstance(given, Exception):
            raise given
        return given is not None, given

    def release(self) -> None:
        self._rest.clear()


def scripted(
    monkeypatch: pytest.MonkeyPatch, folder: Path, script: list[NDArray[Any] | Exception | None], promised: float
) -> VideoSource:
    monkeypatch.setattr(ScriptedCapture, "script", script)
    monkeypatch.setattr(ScriptedCapture, "promised", promised)
    monkeypatch.setattr(cv2, "VideoCapture", ScriptedCapture)
    (folder / "x").write_text("something")
    return VideoSource(folder / "x")


def image(*shape: int, dtype: type = np.uint8) -> NDArray[Any]:
    """A black picture, 2 x 2 in colour unless another shape is given."""
    return np.zeros(shape or (2, 2, 3), dtype)


@pytest.mark.parametrize("promised", [0.0, -1.0, -9.2e18, float("nan"), float("inf"), 2.0**31])
def test_a_frame_count_beyond_reason_is_no_length(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, promised: float
) -> None:
    source = scripted(monkeypatch, tmp_path, [image(), image(), None, image()], promised)
    assert source.length is None
    assert len(list(source.frames())) == 2  # without a promise the first failed read is the end
    assert source.counts.missing == 0


def test_failed_reads_are_passed_over_while_more_frames_are_promised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = scripted(monkeypatch, tmp_path, [image(), None, cv2.error("broken"), image(), None, None], 6)
    assert [frame.index for frame in source.frames()] == [0, 3]
    counts = source.counts
    assert (counts.delivered, counts.decode_errors, counts.missing) == (2, 2, 4)


def test_a_container_that_promises_billions_ends_soon_after_its_last_frame(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reads = iter(range(50_000))
    monkeypatch.setattr(
        ScriptedCapture,
        "read",
        lambda _self: (next(reads) < 2, image()),  # runs out where reading goes on and on
    )
    source = scripted(monkeypatch, tmp_path, [], 2.0**31 - 1)
    assert [frame.index for frame in source.frames()] == [0, 1]
    assert source.counts.missing == 2**31 - 3


def test_a_name_that_is_no_utf8_is_read_like_any_other(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", frames=5).rename(os.fsdecode(bytes(tmp_path) + b"/caf\xe9 \xff.avi"))
    program = "import sys\nfrom moase_edge.frames.video import VideoSource\n"
    program += "print(sum(1 for _ in VideoSource(sys.argv[1]).frames()))"
    # In a process of its own, because this may end one.
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


def test_more_frames_than_promised_all_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = scripted(monkeypatch, tmp_path, [image()] * 5, 3)
    assert len(list(source.frames())) == 5
    assert source.counts.missing == 0


def test_changes_of_size_and_of_form_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script: list[NDArray[Any] | Exception | None] = [
        image(),
        image(3, 2, 4),
        image(3, 2),
        image(3, 2, 3, dtype=np.uint16),
    ]
    source = scripted(monkeypatch, tmp_path, script, 4)
    assert [frame.image.shape for frame in source.frames()] == [(2, 2, 3)] + 3 * [(3, 2, 3)]
    assert (source.counts.resized, source.counts.converted) == (1, 3)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((1, 1), 5, np.uint8), (5, 5, 5)),
        (np.full((1, 1, 1), 5, np.uint8), (5, 5, 5)),
        (np.array([[[1, 2, 3]]], np.uint8), (3, 2, 1)),
        (np.array([[[1, 2, 3, 0]]], np.uint8), (3, 2, 1)),
        (np.array([[[0x100, 0x2FF, 0xFFFF]]], np.uint16), (255, 2, 1)),
    ],
)
def test_opencv_frames_become_rgb(pixels: NDArray[Any], expected: tuple[int, int, int]) -> None:
    rgb, converted = rgb_from_opencv(pixels)
    assert rgb.shape == (1, 1, 3)
    assert rgb.dtype == np.uint8
    assert tuple(rgb[0, 0]) == expected
    assert converted == (pixels.shape != (1, 1, 3) or pixels.dtype != np.uint8)


@pytest.mark.parametrize(
    "pixels", [image(1, 1, 2), image(1, 1, 3, dtype=np.float32), image(0, 4, 3), image(4), image(1, 1, 1, 3)]
)
def test_other_opencv_frames_are_refused(pixels: NDArray[Any]) -> None:
    with pytest.raises(SourceError, match="expected H x W with 1, 3 or 4 channels"):
        rgb_from_opencv(pixels)


def test_opening_a_damaged_video_is_silent_and_leaves_the_environment_as_it_was(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", "mp4v")
    path.write_bytes(path.read_bytes()[:-800])
    program = (
        "import os, sys\n"
        "import cv2\n"  # which edits the environment itself
        "from moase_edge.errors import SourceError\n"
        "from moase_edge.frames.video import VideoSource\n"
        "before = dict(os.environ)\n"
        "try:\n    VideoSource(sys.argv[1])\n"
        "except SourceError:\n    print('refused', dict(os.environ) == before)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused True\n", "")


def test_a_log_level_that_the_user_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "32")
    level = cv2.utils.logging.getLogLevel()
    with quiet_opencv():
        assert os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "32"
    assert os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "32"
    assert cv2.utils.logging.getLogLevel() == level


@pytest.mark.data
def test_a_recorded_video_gives_all_frames_that_it_promises() -> None:
    root = os.environ.get("MOASE_EDGE_DATA")
    if root is None:
        pytest.skip("MOASE_EDGE_DATA is not set")
    with VideoSource(Path(root) / "videos" / "car-detection.mp4") as source:
        count = sum(1 for _ in source.frames())
    assert count == source.length == source.counts.delivered == 377
