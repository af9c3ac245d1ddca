"""Picture files as a source: one file, a folder, or what a glob pattern matches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from moase_edge.errors import ConfigError, SourceError
from moase_edge.frames.frame import Frame
from moase_edge.frames.picture import PICTURE_SUFFIXES, decode_picture
from moase_edge.frames.redact import printable
from moase_edge.frames.source import Source, SourceCounts

logger = logging.getLogger(__name__)


class ImagesSource(Source):
    """Decodes files in the order given; a file that is no picture is skipped, logged and counted.

    `length` counts the files, also those that turn out to be no pictures. `Frame.name` is the file's name
    without its folder.
    """

    live = False

    def __init__(
        self, paths: Sequence[Path], *, name: str, clock_ns: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        """Take the files in `paths`; `name` is what a user asked for (a folder, a pattern).

        Raises:
            ConfigError: `paths` is empty.
        """
        self.name = printable(name)
        self.length: int | None = len(paths)
        self.counts = SourceCounts()
        self._paths = list(paths)
        self._next = 0
        self._clock_ns = clock_ns
        if not paths:
            raise ConfigError(
                f"nothing to read: {self.name} holds no picture; expected files ending in "
                f"{', '.join(sorted(PICTURE_SUFFIXES))}"
            )

    def frames(self) -> Iterator[Frame]:
        """One frame for each file that can be decoded.

        Raises:
            SourceError: at the end, when not one file could be decoded.
        """
        while self._next < len(self._paths):
            index = self._next
            self._next += 1
            frame = self._decode(index)
            if frame is not None:
                yield frame
        if not self.counts.delivered and self.counts.skipped:
            raise SourceError(
                f"{self.name}: none of {self.counts.skipped} files could be decoded as a picture; the log names "
                "each with its reason. A video is given by its own path"
            )

    def close(self) -> None:
        """Deliver no more files."""
        self._paths.clear()

    def _decode(self, index: int) -> Frame | None:
        path, began = self._paths[index], time.perf_counter_ns()
        try:
            image, converted = decode_picture(path)
        except SourceError as exc:
            self.counts.skipped += 1
            logger.warning("skipped: %s", exc)
            return None
        self.counts.count(image, converted=converted)
        decode_ms = (time.perf_counter_ns() - began) / 1e6
        return Frame(image, index, self._clock_ns(), name=printable(path.name), decode_ms=decode_ms)


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of `folder` sorted by name (`10.jpg` before `9.jpg`); subfolders are not searched.

    Picture files are told by their suffix (`PICTURE_SUFFIXES`, either case); hidden files are left out.

    Raises:
        SourceError: the folder cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
        return [path for path in entries if _looks_like_picture(path) and path.is_file()]
    except OSError as exc:
        raise SourceError(f"the folder {printable(str(folder))} cannot be read: {exc.strerror}") from exc


def _looks_like_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
