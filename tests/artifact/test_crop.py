"""What a picture is resized to, what the crop keeps of it, and what stands beside it."""

from __future__ import annotations

import pytest

from moase_edge.artifact.crop import centred, fill_levels, resized_size
from moase_edge.artifact.preprocess_spec import CropMode, PreprocessSpec
from moase_edge.errors import SourceError


def spec(mode: CropMode, height: int = 8, width: int = 8) -> PreprocessSpec:
    return PreprocessSpec(
        height=height, width=width, crop_pct=0.8, crop_mode=mode, mean=(0.5, 0, 1), std=(1, 1, 1)
    )


@pytest.mark.parametrize(
    ("mode", "height", "width", "resized"),
    [
        ("center", 8, 8, (10, 16)),  # 10 is 8 / 0.8; 10 * 5 / 3 = 16.7 is cut off
        ("center", 8, 16, (12, 20)),  # no square: 20 / 5 scales both, rounded
        ("squash", 8, 16, (10, 20)),
        ("border", 8, 8, (6, 10)),
    ],
)
def test_a_picture_is_resized_as_its_crop_mode_says(
    mode: CropMode, height: int, width: int, resized: tuple[int, int]
) -> None:
    assert resized_size(spec(mode, height, width), 3, 5) == resized


@pytest.mark.parametrize("size", [(1, 10**8), (10**8, 1)])
def test_a_needle_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(SourceError, match="too elongated"):
        resized_size(spec("center"), *size)


@pytest.mark.parametrize(
    ("resized", "target", "kept", "place"),
    [(10, 8, (1, 9), (0, 8)), (11, 8, (2, 10), (0, 8)), (13, 8, (2, 10), (0, 8)), (5, 8, (0, 5), (1, 6))],
)
def test_a_crop_is_centred_and_rounded_half_to_even(
    resized: int, target: int, kept: tuple[int, int], place: tuple[int, int]
) -> None:
    assert centred(resized, target) == (slice(*kept), slice(*place))


def test_what_stands_beside_a_picture_is_the_mean_where_it_has_a_border() -> None:
    assert fill_levels(spec("border")) == (128, 0, 255)
    assert fill_levels(spec("center")) == (0, 0, 0)
