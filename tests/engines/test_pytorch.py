from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from moase_edge.engines.pytorch import TorchEngine
from moase_edge.errors import EngineError


class Sums(nn.Module):
    """Sum and mean of each channel."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.sum((2, 3)), images.mean((2, 3))


def test_outputs_are_named_in_their_order_and_carry_no_gradient() -> None:
    found = TorchEngine(Sums(), ("sum", "mean")).run(np.full((2, 3, 4, 4), 0.5, np.float32))
    np.testing.assert_array_equal(found["sum"], np.full((2, 3), 8, np.float32))
    np.testing.assert_array_equal(found["mean"], np.full((2, 3), 0.5, np.float32))
    assert all(value.dtype == np.float32 for value in found.values())


def test_the_module_is_put_in_evaluation_mode() -> None:
    module = nn.Sequential(nn.Dropout(0.5), Sums())
    found = TorchEngine(module, ("sum", "mean")).run(np.ones((1, 3, 8, 8), np.float32))
    np.testing.assert_array_equal(found["mean"], np.ones((1, 3), np.float32))


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 4, 8, 8), "float32"), ((8, 8), "float32"), ((1, 3, 8, 8), "float64")]
)
def test_a_batch_that_does_not_fit_is_refused_with_both_shapes(shape: tuple[int, ...], dtype: str) -> None:
    engine = TorchEngine(nn.Conv2d(3, 2, 4), ("features",))
    with pytest.raises(EngineError) as caught:
        engine.run(np.zeros(shape, dtype))
    assert f"batch of shape {shape}, {dtype}; it expects B x 3 x H x W, float32" in str(caught.value)


def test_a_closed_engine_does_not_run() -> None:
    engine = TorchEngine(Sums(), ("sum", "mean"))
    engine.close()
    with pytest.raises(EngineError, match="this engine was closed"):
        engine.run(np.zeros((1, 3, 8, 8), np.float32))


def test_the_name_says_what_runs_it_and_where() -> None:
    assert TorchEngine(Sums(), ("sum", "mean")).name == f"PyTorch {torch.__version__} (cpu)"
