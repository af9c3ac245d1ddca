"""What a corruption is: a function, and its five published settings for two sizes of frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import ConfigError

Image = NDArray[np.uint8]
"""H x W x 3, RGB, uint8."""

Levels = NDArray[np.float32]
"""H x W x 3 or H x W, float32, on the scale 0..255 unless the function says otherwise; may lie outside it."""

ConstantSet = Literal["imagenet", "cifar"]
"""Which published constants: those of ImageNet-C (made for 224 px) or of CIFAR-10-C (made for 32 px)."""

MAX_SEVERITY = 5
# A frame that is smaller than this would be nothing but its border under the wider filters.
MIN_SIDE_PX = 16
# The sets were made for 32 and for 224 px. At 64 px ImageNet-C's filters span a third of the frame.
CIFAR_BELOW_PX = 64

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Corruption(Generic[S]):
    """One corruption: `corruption(image, severity, rng)` corrupts a frame.

    Attributes:
        apply: takes an Image that it must not change, one setting and the generator; returns an Image, or Levels
            that are then clipped to 0..255 and truncated, as the published code does.
        imagenet: the settings of ImageNet-C at severities 1 to 5.
        cifar: the settings of CIFAR-10-C at severities 1 to 5.
    """

    apply: Callable[[Image, S, np.random.Generator], Image | Levels]
    imagenet: tuple[S, S, S, S, S]
    cifar: tuple[S, S, S, S, S]

    def __call__(
        self,
        image: Image,
        severity: int,
        rng: np.random.Generator,
        *,
        constants: ConstantSet | None = None,
    ) -> Image:
        """Corrupt one frame.

        Args:
            image: H x W x 3, RGB, uint8, at least 16 px on each side; not changed.
            severity: 1 to 5.
            rng: the only source of chance; the same state gives the same bytes.
            constants: `imagenet` takes those of ImageNet-C, `cifar` those of CIFAR-10-C, which are milder. None
                takes `cifar` where the shorter side is below 64 px, else `imagenet`.

        Returns:
            A new array of the same shape, uint8, C-contiguous.

        Raises:
            ConfigError: an image, a severity or a set of constants that is none of these.
        """
        check_image(image)
        check_severity(severity)
        setting = self._settings(constants or constants_for(image))[severity - 1]
        corrupted = self.apply(np.ascontiguousarray(image), setting, rng)
        if corrupted.dtype != np.uint8:
            corrupted = np.clip(corrupted, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(corrupted)

    def _settings(self, constants: ConstantSet) -> tuple[S, S, S, S, S]:
        sets = {"imagenet": self.imagenet, "cifar": self.cifar}
        if constants not in sets:
            raise ConfigError(f"constants {constants!r} do not exist; expected one of {', '.join(sets)}")
        return sets[constants]


def constants_for(image: Image) -> ConstantSet:
    """The published constants that fit a frame's size: `cifar` where the shorter side is below 64 px."""
    return "cifar" if min(image.shape[:2]) < CIFAR_BELOW_PX else "imagenet"


def check_image(image: Image) -> None:
    """Refuse what is not a picture.

    Raises:
        ConfigError: not H x W x 3, not uint8, or a side below 16 px.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        got = f"shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ConfigError(f"the image has {got}; expected an array of H x W x 3, RGB")
    if image.dtype != np.uint8:
        raise ConfigError(f"the image has dtype {image.dtype}; expected uint8, values 0 to 255")
    if min(image.shape[:2]) < MIN_SIDE_PX:
        raise ConfigError(
            f"the image is {image.shape[1]} x {image.shape[0]} px; "
            f"expected at least {MIN_SIDE_PX} px on each side: enlarge it first"
        )


def check_severity(severity: int, what: str = "severity") -> None:
    """Refuse what is not a whole number from 1 to 5.

    Raises:
        ConfigError: naming `what`.
    """
    whole = isinstance(severity, (int, np.integer)) and not isinstance(severity, bool)
    if not whole or not 1 <= severity <= MAX_SEVERITY:
        raise ConfigError(
            f"{what} is {severity!r}; expected a whole number from 1 to {MAX_SEVERITY} "
            "(leave the frame as it is for none)"
        )
