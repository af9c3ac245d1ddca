"""Picture files, decoded one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from moase_edge.errors import SourceError

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2", ".avif"}
)

# The only formats of Pillow that are opened: others start other programs (EPS) or hold no picture.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")


@dataclass(frozen=True, slots=True)
class FilePictures:
    """Pictures of a folder, decoded each time that one is asked for; none is kept.

    Attributes:
        folder: what `files` are relative to.
        files: names, perhaps with folders.
        prepare: what happens to each picture; None leaves it as it is.
    """

    folder: Path
    files: tuple[str, ...]
    prepare: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """H x W x 3, RGB, uint8, a new array.

        Raises:
            SourceError: the file cannot be decoded.
        """
        picture = read_picture(self.folder / self.files[index])
        return picture if self.prepare is None else self.prepare(picture)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Decode a file to H x W x 3, RGB, uint8, just as `run` decodes it.

    Turned upright by its EXIF orientation; transparency is dropped; of 16 bits a level the upper 8 are kept; of an
    animation the first picture is taken.

    Raises:
        SourceError: unreadable, no picture, truncated, or of levels without a known range.
    """
    try:
        with _opened(path) as file:
            return _rgb(ImageOps.exif_transpose(file))
    except Exception as exc:  # damaged bytes make decoders raise nearly anything
        raise SourceError(_undecodable(path, exc)) from exc


def check_picture(path: Path) -> None:
    """Read a file to its end, and find out whether it can be decoded; a JPEG is decoded at an eighth of its size.

    Raises:
        SourceError: as `read_picture`.
    """
    try:
        with _opened(path) as file:
            file.draft(None, (1, 1))
            _refuse_unknown_range(file)
    except Exception as exc:  # as above
        raise SourceError(_undecodable(path, exc)) from exc


def picture_names(folder: Path) -> list[str]:
    """Names of the picture files in `folder`, sorted; told by their suffix, hidden ones left out.

    Raises:
        SourceError: the folder cannot be read.
    """
    return [path.name for path in entries(folder) if path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()]


def folder_names(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted; hidden ones left out.

    Raises:
        SourceError: the folder cannot be read.
    """
    return [path.name for path in entries(folder) if path.is_dir()]


def entries(folder: Path) -> list[Path]:
    """What `folder` holds, sorted by name, without hidden entries.

    Raises:
        SourceError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as exc:
        raise SourceError(
            f"the folder {folder} cannot be read: {exc.strerror}; give a folder of labelled pictures"
        ) from exc


def _opened(path: Path) -> Image.Image:
    Image.init()
    return Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])


def _undecodable(path: Path, cause: Exception) -> str:
    return f"{path} cannot be decoded as a picture ({type(cause).__name__}: {cause}); replace it or take it away"


def _refuse_unknown_range(picture: Image.Image) -> None:
    """Decode the picture, and refuse levels that are neither 8 nor 16 bits."""
    picture.load()
    if picture.mode == "F":
        raise ValueError("floating point values have no known range; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        levels = np.asarray(picture)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(f"grey levels from {levels.min()} to {levels.max()}; expected 0 to 65535")


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    _refuse_unknown_range(picture)
    if picture.mode.startswith("I"):
        upper = (np.asarray(picture).astype(np.int64) >> 8).astype(np.uint8)
        return np.repeat(upper[..., None], 3, axis=-1)
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # straight to RGB, Pillow warns
    return np.array(picture.convert("RGB"))
