"""Clips: each picture under a slow pan and zoom."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.data.domains import computed_domain
from moase_edge.data.fit import fit_to_model
from moase_edge.data.labelled import Domain, LabelledImages
from moase_edge.data.protocols.clips import PanAndZoom, clips

CLEAN = Domain("clean")
SPEC = PreprocessSpec(height=32, width=32, crop_pct=0.875, mean=(0, 0, 0), std=(1, 1, 1))


def coordinates(height: int, width: int) -> NDArray[np.uint8]:
    """A picture whose pixels say where they are: row in red, column in green."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)


def scenes(count: int = 6, side: int = 64) -> LabelledImages:
    """Smooth pictures that differ from each other; labels 0 1 2 0 1 2."""
    rows, columns = np.mgrid[:side, :side] / side
    waves = [128 + 60 * np.sin(5 * rows + i) + 60 * np.cos(4 * columns - 2 * i) for i in range(count)]
    images = np.repeat(np.stack(waves)[..., None], 3, axis=3).clip(0, 255).astype(np.uint8)
    return LabelledImages(images, np.arange(count, dtype=np.int64) % 3, ("a", "b", "c"))


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def windows(height: int, width: int, frames: int, seed: int) -> list[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of each frame of a path, borders included."""
    view, image = PanAndZoom(frames, keep_size=False), coordinates(height, width)
    found = []
    for step in range(frames):
        window = view(image, step, np.random.default_rng(seed))
        (top, left), (bottom, right) = window[0, 0, :2].tolist(), window[-1, -1, :2].tolist()
        assert window.shape == (bottom - top + 1, right - left + 1, 3)
        found.append((top, bottom, left, right))
    return found


def test_each_picture_becomes_a_clip_and_clips_come_in_class_order() -> None:
    stream = clips(scenes(), [CLEAN, Domain("again")], seed=0, frames=4)
    assert len(stream) == 2 * 6 * 4
    for start in range(0, 48, 4):
        assert len(set(stream.pictures[start : start + 4])) == 1
        assert len(set(stream.labels[start : start + 4])) == 1
    for half in (stream.pictures[:24], stream.pictures[24:]):
        assert sorted(half[::4]) == [0, 1, 2, 3, 4, 5]
    assert stream.labels[:24:4].tolist() == stream.labels[24::4].tolist() == [0, 0, 1, 1, 2, 2]
    assert stream.batch_size == 1
    assert [frame.time for frame in stream] == list(range(48))


def test_shuffled_clips_are_whole_but_not_in_class_order() -> None:
    stream = clips(scenes(30, side=16), [CLEAN], seed=0, frames=2, order="shuffled")
    assert stream.pictures[::2].tolist() == stream.pictures[1::2].tolist()
    assert sorted(stream.pictures[::2]) == list(range(30))
    assert stream.labels[::2].tolist() != sorted(stream.labels[::2])


def test_neighbours_in_a_clip_are_nearly_equal_and_other_pictures_are_not() -> None:
    frames = list(clips(scenes(), [CLEAN], seed=1, frames=12))
    within = [distance(a.image, b.image) for a, b in itertools.pairwise(frames) if a.picture == b.picture]
    across = [distance(a.image, b.image) for a, b in itertools.pairwise(frames) if a.picture != b.picture]
    assert len(within) == 6 * 11
    assert max(within) < 6
    assert min(across) > 12
    ends = [distance(frames[start].image, frames[start + 11].image) for start in range(0, 72, 12)]
    assert np.mean(ends) > 3 * np.mean(within)  # it does move


@given(st.integers(20, 250), st.integers(20, 250), st.integers(2, 20), st.integers(0, 1000))
def test_view_stays_inside_and_moves_slowly(height: int, width: int, frames: int, seed: int) -> None:
    path = windows(height, width, frames, seed)
    for top, bottom, left, right in path:
        assert 0.8 * height - 1 <= bottom - top + 1 <= height
        assert 0.8 * width - 1 <= right - left + 1 <= width
    for one, other in itertools.pairwise(path):
        moved = np.abs(np.subtract(one, other))
        assert moved[:2].max() <= 0.04 * height + 2
        assert moved[2:].max() <= 0.04 * width + 2


def test_paths_pan_and_zoom() -> None:
    paths = [windows(250, 250, 12, seed) for seed in range(30)]
    zooms = [abs((p[0][1] - p[0][0]) - (p[-1][1] - p[-1][0])) for p in paths]
    pans = [abs(sum(p[0][2:]) - sum(p[-1][2:])) / 2 for p in paths]
    assert np.mean(zooms) == pytest.approx(250 * 0.2 / 3, rel=0.4)  # two uniform draws are a third apart
    assert 3 < np.mean(pans) < 30


def test_short_clip_is_the_beginning_of_a_long_one() -> None:
    assert windows(200, 200, 12, 5)[:6] == windows(200, 200, 6, 5)


def test_fit_gets_the_view_of_the_larger_picture_and_the_shift_gets_the_fitted_one() -> None:
    seen: list[tuple[int, ...]] = []
    corrupted: list[tuple[int, ...]] = []

    def fit(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        seen.append(image.shape)
        return fit_to_model(image, SPEC)

    def shift(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        corrupted.append(image.shape)
        return image

    frames = list(clips(scenes(side=100), [Domain("watched", shift)], seed=0, frames=3, fit=fit))
    assert {frame.image.shape for frame in frames} == {(32, 32, 3)}
    assert set(corrupted) == {(32, 32, 3)}
    assert all(80 <= side <= 100 for shape in seen for side in shape[:2])
    assert len(set(seen)) > 3


def test_without_a_fit_frames_have_the_size_of_their_picture() -> None:
    assert {frame.image.shape for frame in clips(scenes(side=40), [CLEAN], seed=0, frames=3)} == {(40, 40, 3)}


def test_noise_differs_from_frame_to_frame_on_the_same_view() -> None:
    still = LabelledImages(np.full((2, 40, 40, 3), 128, np.uint8), np.array([0, 1]), ("a", "b"))
    fit = partial(fit_to_model, spec=SPEC)
    frames = list(clips(still, [computed_domain("gaussian_noise", 5)], seed=0, frames=5, fit=fit))
    correlations = np.corrcoef([frame.image.astype(float).ravel() for frame in frames])
    assert np.abs(correlations[np.triu_indices(10, 1)]).max() < 0.1


def test_domain_from_disk_pans_over_its_own_pictures() -> None:
    dark = LabelledImages(scenes().images // 4, scenes().labels, scenes().names)
    for frame in clips(scenes(), [Domain("dark", pictures=dark)], seed=0, frames=2):
        assert frame.image.max() <= dark.images[frame.picture].max() + 2


def test_path_is_new_in_each_domain() -> None:
    stream = clips(scenes(1, side=200), [CLEAN, Domain("again")], seed=0, frames=2)
    assert not np.array_equal(stream[0].image, stream[2].image)
