from __future__ import annotations

from typing import Any

import pytest

from moase_edge.models.build import preprocess_of
from tests.models.outlines import outline


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deit_tiny_patch16_224", (224, 0.9, "center", "bicubic", 0.485, 0.229)),
        ("vit_base_patch16_224", (224, 0.9, "center", "bicubic", 0.5, 0.5)),
        ("vit_base_patch16_384", (384, 1.0, "center", "bicubic", 0.5, 0.5)),
        ("vit_base_patch16_siglip_224", (224, 0.9, "center", "bicubic", 0.5, 0.5)),
        ("vit_large_patch14_clip_336", (336, 1.0, "squash", "bicubic", 0.5, 0.5)),
        ("vit_base_patch16_224_miil", (224, 0.875, "center", "bilinear", 0.0, 1.0)),
        ("vit_small_patch14_dinov2", (518, 1.0, "center", "bicubic", 0.485, 0.229)),
        ("test_vit", (160, 0.95, "center", "bicubic", 0.5, 0.5)),
    ],
)
def test_it_is_the_models_own(name: str, expected: tuple[Any, ...]) -> None:
    spec = preprocess_of(outline(name))
    assert (spec.height, spec.width) == (expected[0], expected[0])
    found = (spec.height, spec.crop_pct, spec.crop_mode, spec.interpolation, spec.mean[0], spec.std[0])
    assert found == expected


def test_the_size_is_the_one_that_the_model_was_built_with() -> None:
    spec = preprocess_of(outline("vit_tiny_patch16_224", img_size=(96, 128)))
    assert (spec.height, spec.width) == (96, 128)
