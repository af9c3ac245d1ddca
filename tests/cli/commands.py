"""The command line as a process of its own, and what it needs: a long source, a folder of pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

COMMAND = [sys.executable, "-c", "from moase_edge.cli import main; main()"]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what changes how output is written."""
    left_out = ("PYTHONUNBUFFERED", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return {**{key: value for key, value in os.environ.items() if key not in left_out}, **(more or {})}


def call(
    arguments: Sequence[object], *, folder: Path | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


@contextmanager
def start(arguments: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command whose output is read while it runs; it does not outlive the block."""
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def write_video(path: Path, frames: int, *, size: tuple[int, int] = (64, 48)) -> Path:
    """An MJPG video of noise; `size` is width, height."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, size)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8) for _ in range(5)]
    for index in range(frames):
        writer.write(pictures[index % len(pictures)])
    writer.release()
    return path


def write_pictures(folder: Path, count: int) -> Path:
    """A folder of `count` PNG files, 0.png, 1.png, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((24, 32, 3), 20 * index % 255, dtype=np.uint8))
    return folder
