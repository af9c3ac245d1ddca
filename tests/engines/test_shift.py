"""The shift that an engine is fed: given, left out, or refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moase_edge.artifact.specs import TensorSpec
from moase_edge.engines.base import Engine
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.pytorch import TorchEngine
from moase_edge.engines.shift import fitting_shift
from moase_edge.errors import EngineError
from moase_edge.export.onnx import export_onnx

BLOCKS = (2, 4)


class Adds(nn.Module):
    """Sum of the picture added to the shift; the second output is the shift of the first block."""

    def forward(self, images: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        return images.sum((1, 2, 3))[:, None, None] + shift, shift[:, 0] * 1


class Sums(nn.Module):
    """Takes no shift."""

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (images.sum((1, 2, 3)),)


def spec(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, shape=(None, *shape), meaning="made up")


def in_onnx(folder: Path, *, steer: bool) -> Engine:
    images, path = spec("images", 3, 2, 2), folder / "model.onnx"
    if steer:
        outputs = (spec("logits", *BLOCKS), spec("token_means", 4))
        export_onnx(Adds(), (images, spec("shift", *BLOCKS)), outputs, path)
    else:
        export_onnx(Sums(), (images,), (spec("logits"),), path)
    return OnnxRuntimeEngine(path, threads=1)


def in_torch(folder: Path, *, steer: bool) -> Engine:
    return (
        TorchEngine(Adds(), ("logits", "token_means"), blocks=BLOCKS)
        if steer
        else TorchEngine(Sums(), ("logits",))
    )


MAKERS = pytest.mark.parametrize("make", [in_onnx, in_torch])
Maker = Callable[..., Engine]


def ones(count: int = 3) -> NDArray[np.float32]:
    return np.ones((count, 3, 2, 2), np.float32)


@MAKERS
@torch.no_grad()
def test_a_shift_is_fed_and_zeros_where_there_is_none(make: Maker, tmp_path: Path) -> None:
    shift = np.arange(24, dtype=np.float32).reshape(3, *BLOCKS)
    with closing(make(tmp_path, steer=True)) as engine:
        given, left_out = engine.run(ones(), shift), engine.run(ones())
        zeros = engine.run(ones(), np.zeros((3, *BLOCKS), np.float32))
    np.testing.assert_array_equal(given["logits"], 12 + shift)
    np.testing.assert_array_equal(given["token_means"], shift[:, 0])
    np.testing.assert_array_equal(left_out["logits"], zeros["logits"])
    np.testing.assert_array_equal(zeros["logits"], np.full((3, *BLOCKS), 12, np.float32))


@MAKERS
@torch.no_grad()
def test_an_engine_that_takes_none_refuses_a_shift_even_of_zeros(make: Maker, tmp_path: Path) -> None:
    with closing(make(tmp_path, steer=False)) as engine:
        with pytest.raises(EngineError, match=r"takes no shift: .*export --steer"):
            engine.run(ones(), np.zeros((3, *BLOCKS), np.float32))
        np.testing.assert_array_equal(engine.run(ones())["logits"], [12, 12, 12])


@MAKERS
@pytest.mark.parametrize(
    ("shift", "got"),
    [
        (np.zeros((2, *BLOCKS), np.float32), r"\(2, 2, 4\) and type float32"),
        (np.zeros((1, *BLOCKS), np.float32), r"\(1, 2, 4\) and type float32"),
        (np.zeros(BLOCKS, np.float32), r"\(2, 4\) and type float32"),
        (np.zeros((3, 4, 2), np.float32), r"\(3, 4, 2\) and type float32"),
        (np.zeros((3, *BLOCKS)), r"\(3, 2, 4\) and type float64"),
    ],
)
@torch.no_grad()
def test_a_shift_that_does_not_fit_is_refused_with_both_shapes(
    shift: NDArray[np.float32], got: str, make: Maker, tmp_path: Path
) -> None:
    with closing(make(tmp_path, steer=True)) as engine:
        with pytest.raises(EngineError, match=rf"has shape {got}; this engine expects \(3, 2, 4\) float32"):
            engine.run(ones(), shift)
        assert engine.run(ones())["logits"].shape == (3, *BLOCKS), "a refused shift broke the engine"


def test_nothing_is_fed_to_an_engine_that_takes_no_shift() -> None:
    assert fitting_shift(None, None, 3) is None
