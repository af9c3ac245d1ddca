"""Shifts of a camera that are no corruption: another light, exposure, stream, lens or framing.

Each is a function of a frame, a strength of 1 to 5 and a generator, as a corruption is. The ranges are chosen here
from what cameras do; no benchmark defines them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from moase_edge.data.corruptions.corruption import Image, Levels, check_image, check_severity
from moase_edge.data.unknown import does_not_exist
from moase_edge.errors import ConfigError

# Share by which the gains of red and blue move apart; a third of it moves green. 0.6 is about daylight's balance
# under a lamp.
CAST_GAIN = (0.1, 0.2, 0.3, 0.45, 0.6)
# Stops: each doubles the light.
EXPOSURE_EV = (0.33, 0.67, 1.0, 1.5, 2.0)
# libjpeg quality.
JPEG_QUALITY = (85, 70, 50, 35, 20)
# Share of the side that is left after scaling down.
RESOLUTION_SHARE = (0.8, 0.65, 0.5, 0.35, 0.25)
# Share of the side that is framed.
CROP_SHARE = (0.9, 0.8, 0.7, 0.6, 0.5)
# Exponent of the tone curve about middle grey, and what the corners lose of their light.
CURVE_EXPONENT = (1.1, 1.2, 1.35, 1.5, 1.7)
VIGNETTE_LOSS = (0.1, 0.15, 0.2, 0.3, 0.4)
# Shares of red, green and blue in the luminance of linear light (ITU-R BT.709).
LUMINANCE_RGB = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True, slots=True)
class Shift:
    """One shift: `shift(image, strength, rng)`.

    Attributes:
        apply: takes a frame that it must not change, a strength that was checked, and the generator.
    """

    apply: Callable[[Image, int, np.random.Generator], Image]

    def __call__(self, image: Image, strength: int, rng: np.random.Generator) -> Image:
        """Shift one frame.

        Args:
            image: H x W x 3, RGB, uint8, at least 16 px on each side; not changed.
            strength: 1 to 5.
            rng: the only source of chance; the same state gives the same bytes.

        Returns:
            A new array of the same shape, uint8, C-contiguous.

        Raises:
            ConfigError: an image or a strength that is none.
        """
        check_image(image)
        check_severity(strength, "strength")
        return np.ascontiguousarray(self.apply(np.ascontiguousarray(image), strength, rng))


def shift(image: Image, name: str, strength: int, rng: np.random.Generator) -> Image:
    """Shift one frame by the name of the shift; arguments, result and errors are those of `Shift`.

    Raises:
        ConfigError: also for an unknown name.
    """
    if name not in SHIFTS:
        raise ConfigError(does_not_exist("shift", name, SHIFTS))
    return SHIFTS[name](image, strength, rng)


def colour_cast(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """White balance that is off: warm or cold, a little green or magenta, as gains in linear light.

    The ratio of red to blue changes by 1.21 to 2.56 either way; the luminance of grey is kept.
    """
    amount = CAST_GAIN[strength - 1]
    warmth = rng.choice((-1.0, 1.0))
    tint = rng.uniform(-1.0, 1.0) / 3
    gains = (1 + amount) ** np.array([warmth, tint, -warmth])
    gains /= np.dot(LUMINANCE_RGB, gains)
    tables = [_encode(_linear_of_code() * gain) for gain in gains]
    return _look_up(image, np.stack(tables, axis=-1))


def exposure(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Too little or too much light, as likely: 0.33 to 2 stops, a gain in linear light."""
    stops = rng.choice((-1.0, 1.0)) * EXPOSURE_EV[strength - 1]
    return _look_up(image, _encode(_linear_of_code() * 2.0**stops))


def jpeg(image: Image, strength: int, _rng: np.random.Generator) -> Image:
    """What a camera streams: JPEG of quality 85 to 20, colour at half the resolution."""
    stream = BytesIO()
    PILImage.fromarray(image).save(stream, "JPEG", quality=JPEG_QUALITY[strength - 1], subsampling="4:2:0")
    return np.array(PILImage.open(stream))


def resolution(image: Image, strength: int, _rng: np.random.Generator) -> Image:
    """A sensor with fewer pixels: down to 0.8 to 0.25 of the side by area, and up again by cubic interpolation."""
    height, width = image.shape[:2]
    share = RESOLUTION_SHARE[strength - 1]
    small = cv2.resize(
        image, (max(1, round(width * share)), max(1, round(height * share))), interpolation=cv2.INTER_AREA
    )
    large: Image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return large


def crop(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """A longer lens: a window of 0.9 to 0.5 of the side, anywhere in the frame, enlarged to the old size."""
    height, width = image.shape[:2]
    share = CROP_SHARE[strength - 1]
    rows, columns = round(height * share), round(width * share)
    top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    window = image[top : top + rows, left : left + columns]
    large: Image = cv2.resize(window, (width, height), interpolation=cv2.INTER_LINEAR)
    return large


def mirror(image: Image, _strength: int, _rng: np.random.Generator) -> Image:
    """Left and right exchanged, as by many front cameras. The strength has no effect."""
    mirrored: Image = image[:, ::-1].copy()
    return mirrored


def camera_curve(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Another camera: a harder or a softer tone curve, as likely, and corners that lose 10 to 40 % of their light.

    The curve bends about middle grey with an exponent of 1.1 to 1.7 or its inverse. The light falls with the
    square of the distance from the centre.
    """
    exponent = CURVE_EXPONENT[strength - 1] ** rng.choice((-1.0, 1.0))
    code = np.linspace(0, 1, 256)
    dark, bright = (2 * code) ** exponent, (2 - 2 * code) ** exponent
    curve = np.where(code < 0.5, dark / 2, 1 - bright / 2)
    curved = _linear_of_code()[np.rint(255 * curve).astype(int)].astype(np.float32)
    height, width = image.shape[:2]
    light = curved[image] * _vignette(height, width, VIGNETTE_LOSS[strength - 1])
    # Even in the shadows a code of sRGB is wider than a step of 1/4096 of white.
    table = _encode(np.linspace(0, 1, 4097))
    result: Image = table[np.rint(4096 * light).astype(np.uint16)]
    return result


def _vignette(height: int, width: int, loss: float) -> Levels:
    """H x W x 1: 1 in the centre, 1 - `loss` in the corners."""
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    light: Levels = 1 - np.float32(loss / 2) * (rows**2 + columns**2)
    return light


def _linear_of_code() -> NDArray[np.float64]:
    """Linear light of the 256 codes of sRGB (IEC 61966-2-1), 0..1."""
    code = np.linspace(0, 1, 256)
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _encode(light: NDArray[np.float64]) -> Image:
    """Linear light to the nearest code of sRGB; what is brighter than 1 is cut."""
    light = np.clip(light, 0, 1)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    rounded: Image = np.rint(255 * code).astype(np.uint8)
    return rounded


def _look_up(image: Image, table: Image) -> Image:
    """Replace each value by its entry in `table`, of 256 or of 256 x 3."""
    result: Image = cv2.LUT(image, table.reshape(1, 256, -1))
    return result


SHIFTS: dict[str, Shift] = {
    "colour_cast": Shift(colour_cast),
    "exposure": Shift(exposure),
    "jpeg": Shift(jpeg),
    "resolution": Shift(resolution),
    "crop": Shift(crop),
    "mirror": Shift(mirror),
    "camera_curve": Shift(camera_curve),
}
"""By name."""
