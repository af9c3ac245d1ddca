from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from moase_edge.adapt.sidecar import Taps
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.artifact.source_statistics import QUANTITIES
from moase_edge.calib.source_statistics import record_source_statistics
from moase_edge.engines.base import Tensors
from moase_edge.engines.pytorch import TorchEngine
from moase_edge.errors import CalibrationError, SourceError
from moase_edge.frames.frame import Frame
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.models.split import FrozenBackbone
from tests.adapt.backbones import CHANNELS, sidecar_of, small_vit

SPEC = PreprocessSpec(height=32, width=32, crop_pct=1, mean=(0, 0, 0), std=(1, 1, 1))


class Made:
    """An engine whose taps are `tap` of the picture's level, (P, C)."""

    name = "made"

    def __init__(self, tap: Callable[[float], NDArray[np.float32]]) -> None:
        self._tap = tap

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        mid = np.stack([self._tap(float(image.mean())) for image in images])
        return {"mid": mid, "out": 2 * mid}

    def close(self) -> None: ...


def grey(*levels: int) -> list[Frame]:
    return [
        Frame(np.full((32, 32, 3), level, np.uint8), index, 0, name=f"{index}.png")
        for index, level in enumerate(levels)
    ]


def level_everywhere(level: float) -> NDArray[np.float32]:
    return np.full((1, CHANNELS), level, np.float32)


def test_statistics_of_two_pictures_are_those_computed_by_hand() -> None:
    sidecar = sidecar_of(small_vit())
    found = record_source_statistics(Made(level_everywhere), sidecar, Preprocessor(SPEC), grey(0, 255))
    assert found.count == 2
    np.testing.assert_allclose(found.mid.mean, [0.5] * CHANNELS, rtol=1e-6)
    np.testing.assert_allclose(found.mid.std, [0.5] * CHANNELS, rtol=1e-6)
    np.testing.assert_allclose(found.out.mean, [1.0] * CHANNELS, rtol=1e-6)
    np.testing.assert_allclose(found.out.std, [1.0] * CHANNELS, rtol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "mean", "std"),
    [("token", 0.0, 0.0), ("avg", 2.5, 1.25**0.5)],
)
def test_only_the_tokens_that_the_head_reads_count(pooling: str, mean: float, std: float) -> None:
    numbered = np.repeat(np.arange(5, dtype=np.float32)[:, None], CHANNELS, axis=1)
    sidecar = sidecar_of(small_vit(global_pool=pooling), 2)
    assert sidecar.spec.tap_tokens == 5
    found = record_source_statistics(Made(lambda level: numbered), sidecar, Preprocessor(SPEC), grey(0, 9))
    np.testing.assert_allclose(found.mid.mean, [mean] * CHANNELS)
    np.testing.assert_allclose(found.mid.std, [std] * CHANNELS, rtol=1e-12)


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_stream_of_pictures_gives_what_all_at_once_gives_and_the_same_each_time(blocks: int) -> None:
    model = small_vit()
    sidecar = sidecar_of(model, blocks)
    engine = TorchEngine(FrozenBackbone(model, sidecar.spec), ("mid", "out", "logits"))
    rng = np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8), index, 0) for index in range(6)]
    found, again = (record_source_statistics(engine, sidecar, Preprocessor(SPEC), frames) for _ in range(2))
    seen: dict[str, list[NDArray[np.float64]]] = {name: [] for name in QUANTITIES}
    for frame in frames:
        outputs = engine.run(Preprocessor(SPEC).batch([frame.image]))
        taps = Taps(torch.from_numpy(outputs["mid"]), torch.from_numpy(outputs["out"]))
        seen["mid"].append(outputs["mid"][0, 0].astype(np.float64))
        seen["out"].append(outputs["out"][0, 0].astype(np.float64))
        seen["features"].append(sidecar(taps).features[0].numpy().astype(np.float64))
    for name, rows in seen.items():
        moments, second = getattr(found, name), getattr(again, name)
        np.testing.assert_allclose(moments.mean, np.mean(rows, axis=0), rtol=1e-12, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(moments.std, np.std(rows, axis=0), rtol=1e-12, atol=1e-12, err_msg=name)
        assert (moments.mean == second.mean).all()
        assert (moments.std == second.std).all()


class ByBlock(Made):
    """Its token means are the picture's level, twice that for the second block, and it is never given a shift."""

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        assert shift is None
        level = images.mean(axis=(1, 2, 3))[:, None, None]
        means = np.broadcast_to(np.float32([[1.0], [2.0]]) * level, (len(images), 2, CHANNELS))
        return {**super().run(images), "token_means": means}


def test_token_means_are_recorded_by_block_where_the_engine_gives_them() -> None:
    sidecar = sidecar_of(small_vit())
    with_means, without = (
        record_source_statistics(kind(level_everywhere), sidecar, Preprocessor(SPEC), grey(0, 255))
        for kind in (ByBlock, Made)
    )
    assert without.token_means is None
    assert with_means.token_means is not None
    np.testing.assert_allclose(with_means.token_means.mean, [[0.5] * CHANNELS, [1.0] * CHANNELS], rtol=1e-6)
    np.testing.assert_allclose(with_means.token_means.std, [[0.5] * CHANNELS, [1.0] * CHANNELS], rtol=1e-6)
    assert (with_means.mid.mean == without.mid.mean).all()


@pytest.mark.parametrize("levels", [(), (7,)])
def test_fewer_than_two_images_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(CalibrationError, match=f"need 2 images at least.*got {len(levels)}"):
        record_source_statistics(
            Made(level_everywhere), sidecar_of(small_vit()), Preprocessor(SPEC), grey(*levels)
        )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_with_the_image_it_came_from(value: float) -> None:
    def tap(level: float) -> NDArray[np.float32]:
        return np.full((1, CHANNELS), value if level > 0 else 0, np.float32)

    with pytest.raises(CalibrationError, match=r"mid of image 1 \(1.png\) is not finite"):
        record_source_statistics(Made(tap), sidecar_of(small_vit()), Preprocessor(SPEC), grey(0, 255))


def test_an_image_that_cannot_be_prepared_is_named() -> None:
    frames = [*grey(1), Frame(np.zeros((32, 32), np.uint8), 1, 0, name="flat.png")]
    with pytest.raises(SourceError, match=r"image 1 \(flat.png\): a frame is H x W x 3"):
        record_source_statistics(Made(level_everywhere), sidecar_of(small_vit()), Preprocessor(SPEC), frames)
