"""One picture file decoded to RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from moase_edge.errors import SourceError
from moase_edge.frames.redact import printable

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2", ".avif"}
)

# Pillow also opens formats that start other programs (EPS) or hold no picture; those stay closed.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")


def decode_picture(path: Path) -> tuple[NDArray[np.uint8], bool]:
    """Decode `path` to H x W x 3, RGB, uint8, C-contiguous, and say whether it was converted from another mode.

    The picture is turned upright by its EXIF orientation. Transparency is dropped, not composited: the colours
    stored below it stay, as in timm's own loaders. Of 16 bits a channel the upper 8 are kept; PNG and TIFF
    colour pictures with 16 bits are reduced so by the decoder itself and do not count as converted. Of
    animations and multi-page files the first picture is taken.

    Raises:
        SourceError: the file cannot be read, is no picture, is truncated, is larger than Pillow's limit against
            decompression bombs, or holds values without a known range (floats, 32 bit integers).
    """
    try:
        Image.init()
        with Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN]) as file:
            upright = ImageOps.exif_transpose(file)
            return _rgb(upright), upright.mode != "RGB"
    except Exception as exc:  # damaged bytes make decoders raise nearly anything; one file must not end a run
        reason = printable(f"{type(exc).__name__}: {exc}")
        raise SourceError(f"{printable(str(path))} cannot be decoded as a picture ({reason})") from exc


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """Any mode of Pillow to H x W x 3, RGB, uint8."""
    if picture.mode == "F":
        raise ValueError("floating point values have no known range; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        return _rgb_from_16_bit(np.asarray(picture))
    if "transparency" in picture.info and picture.mode == "P":
        picture = picture.convert("RGBA")  # straight to RGB, Pillow warns
    return np.array(picture.convert("RGB"))


def _rgb_from_16_bit(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """H x W grey levels from 0 to 65535 to H x W x 3, uint8."""
    levels = grey.astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError(f"grey levels from {levels.min()} to {levels.max()}; expected 0 to 65535")
    return np.repeat((levels >> 8).astype(np.uint8)[..., None], 3, axis=-1)
