"""A frame to the tensor that the engine expects, equal to what timm's evaluation transform gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moase_edge.artifact.crop import centred, fill_levels, resized_size
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.errors import SourceError

_WIDEST_SUPPORT = 3  # of Lanczos, in pixels of the smaller picture


class Preprocessor:
    """Resize, crop and normalise as a spec says.

    Pillow resizes, because it is what timm's transform and so the published accuracy rest on; OpenCV's filters
    change predictions. Only the part that the crop keeps is resampled where that leaves every byte the same.
    The result is bit for bit that of `timm.data.create_transform(..., is_training=False)` on the same picture.
    Holds no state between calls; may be shared between threads.
    """

    def __init__(self, spec: PreprocessSpec) -> None:
        """Prepare for frames of any size."""
        self.spec = spec
        self._levels = _normalised_levels(spec)
        self._fill = fill_levels(spec)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn `image` (H x W x 3, RGB, uint8) into 3 x height x width, float32, normalised, C-contiguous.

        The result is a fresh array that belongs to the caller.

        Raises:
            SourceError: another shape or dtype, no pixels, or so elongated that it cannot be resized.
        """
        out = np.empty((3, self.spec.height, self.spec.width), np.float32)
        self._write(image, out)
        return out

    def batch(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Turn B images, which may differ in size, into B x 3 x height x width. Otherwise as a single call."""
        out = np.empty((len(images), 3, self.spec.height, self.spec.width), np.float32)
        for image, place in zip(images, out, strict=True):
            self._write(image, place)
        return out

    def _write(self, image: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        """Fill `out`, 3 x height x width, from one image."""
        _refuse_unfit(image)
        spec = self.spec
        source_h, source_w = image.shape[:2]
        resized_h, resized_w = resized_size(spec, source_h, source_w)
        rows = _kept(source_h, resized_h, spec.height)
        columns = _kept(source_w, resized_w, spec.width)
        kept = _resample(image, rows, columns, spec)
        padded = kept.shape[:2] != out.shape[1:]
        for channel, levels in enumerate(self._levels):
            if padded:
                out[channel] = levels[self._fill[channel]]
            # mode="clip" lets NumPy write into `out` without a buffer; a level is never out of range
            np.take(levels, kept[..., channel], out=out[channel, rows.place, columns.place], mode="clip")


class _Axis(NamedTuple):
    """What happens along one side of a picture, in pixels of the resized picture unless said otherwise.

    Attributes:
        source: size of the frame, in its own pixels.
        resized: size of the whole frame once resized.
        start: first pixel that the crop keeps; `stop` is the one after the last.
        place: where the kept pixels stand in the output.
    """

    source: int
    resized: int
    start: int
    stop: int
    place: slice


def _kept(source: int, resized: int, target: int) -> _Axis:
    """Centre `target` pixels on `resized` ones."""
    kept, place = centred(resized, target)
    return _Axis(source, resized, kept.start, kept.stop, place)


def _resample(image: NDArray[np.uint8], rows: _Axis, columns: _Axis, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """The kept part of `image` resized: at most height x width x 3, perhaps a view of something larger."""
    resampling = Image.Resampling[spec.interpolation.upper()]
    if spec.interpolation != "nearest" and _columns_first(rows, columns):
        return _resample_kept(image, rows, columns, resampling)
    whole = np.asarray(Image.fromarray(image).resize((columns.resized, rows.resized), resampling))
    return whole[rows.start : rows.stop, columns.start : columns.stop]


def _columns_first(rows: _Axis, columns: _Axis) -> bool:
    """Whether Pillow, given the whole frame, changes the width before it changes the height.

    Before version 13 it always does; since then not where the height shrinks by more than twice as many pixels as
    the width. The order shows, because what lies between is rounded to bytes.
    """
    return rows.source - rows.resized <= 2 * (columns.source - columns.resized)


def _resample_kept(
    image: NDArray[np.uint8], rows: _Axis, columns: _Axis, resampling: Image.Resampling
) -> NDArray[np.uint8]:
    """Resample little more than the kept part, with the bytes of resizing the whole frame and cropping it.

    In two calls, which hold the order: in a single call with a box Pillow would decide it by the size of the part.
    Not for the nearest neighbour, which rounds at pixel borders, where a shifted start shows.
    """
    top, bottom = _aligned(rows)
    left, right = _aligned(columns)
    scale = rows.source / rows.resized
    reach = math.ceil(_WIDEST_SUPPORT * max(scale, 1)) + 1
    first = max(math.floor(top * scale) - reach, 0)
    last = min(math.ceil(bottom * scale) + reach, rows.source)
    strip = Image.fromarray(image[first:last])
    across = (left * columns.source / columns.resized, 0, right * columns.source / columns.resized, last - first)
    strip = strip.resize((right - left, last - first), resampling, box=across)
    down = (0, top * rows.source / rows.resized - first, right - left, bottom * rows.source / rows.resized - first)
    part = np.asarray(strip.resize((right - left, bottom - top), resampling, box=down))
    return part[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def _aligned(axis: _Axis) -> tuple[int, int]:
    """The narrowest span around the kept pixels whose ends lie on multiples of 1/256 of a source pixel.

    Pillow holds a box in single precision. Between its steps the filter would be shifted by up to 1e-4 pixels, and
    about one value in 5000 would change by a level. Multiples of 1/256 it holds exactly.
    """
    denominator = axis.resized // math.gcd(axis.source, axis.resized)
    power_of_two = denominator & -denominator
    step = denominator // min(power_of_two, 256)
    return axis.start // step * step, -(-axis.stop // step) * step


def _normalised_levels(spec: PreprocessSpec) -> NDArray[np.float32]:
    """3 x 256: what each level of each channel becomes, computed in single precision in torch's order."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    mean, std = (np.array(values, np.float32)[:, None] for values in (spec.mean, spec.std))
    normalised: NDArray[np.float32] = (levels - mean) / std
    return normalised


def _refuse_unfit(image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise SourceError(
            f"a frame is H x W x 3, RGB, uint8; got shape {image.shape} of {image.dtype}. "
            "`Frame.image` of the built-in sources is in that form"
        )
