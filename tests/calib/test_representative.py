"""Which frames stand for a source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.calib.representative import coverage_of, representative_frames, thumbnail_of
from moase_edge.config.calib import RepresentativeSettings
from moase_edge.errors import CalibrationError
from moase_edge.frames.frame import Frame
from moase_edge.frames.source import Source, SourceCounts

SPEC = PreprocessSpec(
    height=32,
    width=32,
    interpolation="bilinear",
    crop_pct=1.0,
    crop_mode="center",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


def picture(seed: int, size: int = 64) -> Any:
    """A seeded pattern of 8 x 8 fields."""
    fields = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return np.repeat(np.repeat(fields, size // 8, axis=0), size // 8, axis=1)


class Pictures(Source):
    """Pictures in memory; `live` ones are captured a tenth of a second apart."""

    name = "yard"

    def __init__(self, images: list[Any], *, live: bool = False) -> None:
        self.live = live
        self.length: int | None = None if live else len(images)
        self.counts = SourceCounts()
        self._images = images
        self.read = 0

    def frames(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            self.read += 1
            yield Frame(image, index, index * 100_000_000, f"{index}.png")

    def close(self) -> None:
        pass


def chosen(images: list[Any], *, live: bool = False, **options: Any) -> Any:
    return representative_frames(Pictures(images, live=live), SPEC, RepresentativeSettings(**options))


def test_near_duplicates_are_dropped_and_counted() -> None:
    one, other = picture(0), picture(1)
    almost = np.clip(one.astype(int) + 2, 0, 255).astype(np.uint8)
    found = chosen([one, almost, other, one])
    assert found.names == ["0.png", "2.png"]
    assert [frame.shape for frame in found.frames] == [(1, 3, 32, 32)] * 2
    assert (found.coverage.seen, found.coverage.taken, found.coverage.duplicates) == (4, 2, 2)
    assert found.coverage.coverage > 0.99


def test_of_more_than_are_wanted_the_later_of_the_nearest_two_goes() -> None:
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    half = black.copy()
    half[:32] = 255
    nearly_black = np.full((64, 64, 3), 30, np.uint8)
    found = chosen([black, nearly_black, white, half], most=3)
    assert found.names == ["0.png", "2.png", "3.png"]
    assert found.coverage.crowded_out == 1


def test_the_choice_is_the_same_each_time() -> None:
    images = [picture(seed) for seed in range(12)]
    first, second = (chosen(images, most=5) for _ in range(2))
    assert first.names == second.names
    assert first.coverage == second.coverage


def test_a_long_file_is_looked_at_evenly() -> None:
    found = chosen([picture(seed) for seed in range(10)], looks=5)
    assert found.names == ["0.png", "2.png", "4.png", "6.png", "8.png"]


def test_a_camera_is_looked_at_evenly_for_as_long_as_was_asked() -> None:
    source = Pictures([picture(seed) for seed in range(30)], live=True)
    found = representative_frames(source, SPEC, RepresentativeSettings(live_s=2.0, looks=4))
    assert found.names == ["0.png", "5.png", "10.png", "15.png"]
    assert source.read == 21


def test_coverage_is_the_share_of_spread_that_the_frames_kept_account_for() -> None:
    seen = np.array([[0.0], [1.0], [2.0]], np.float32)
    assert coverage_of(seen, seen[:1]) == pytest.approx(1 - (5 / 3) / (2 / 3))
    assert coverage_of(seen, seen[[0, 2]]) == pytest.approx(1 - (1 / 3) / (2 / 3))
    assert coverage_of(seen, seen) == 1
    assert coverage_of(seen[:1], seen[:1]) == 1


def test_a_thumbnail_is_the_mean_grey_of_its_fields() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[:2, :2] = 255
    thumbnail = thumbnail_of(image)
    assert thumbnail.shape == (256,)
    assert thumbnail[0] == 1
    assert thumbnail[1:].max() == 0


@pytest.mark.parametrize("level", [0, 7, 255])
def test_frames_of_one_colour_are_refused(level: int) -> None:
    with pytest.raises(CalibrationError, match=r"has one colour only \(3 seen\)"):
        chosen([np.full((40, 40, 3), level, np.uint8)] * 3)


def test_a_source_without_a_frame_is_refused() -> None:
    with pytest.raises(CalibrationError, match="gave no frame"):
        chosen([])


def test_few_frames_and_small_ones_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    chosen([picture(0, 8), picture(1, 64)])
    assert "ranges are taken from 2 frames of yard (2 seen, 0 near-duplicates); 100 at least" in caplog.text
    assert "1 of 2 frames of yard are less than half as large as the model's 32 x 32" in caplog.text


def test_a_hundred_frames_of_fair_size_give_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    chosen([picture(seed, 32) for seed in range(100)])
    assert not caplog.text
