"""Which engines a machine has, and PyTorch as one of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.gpu_engines import ModuleEngine, Place, contenders
from moase_edge.errors import EngineError

CUDA = torch.device("cuda")


def test_a_gpu_has_every_way_in_every_precision_with_and_without_graphs_the_most_asked_for_first() -> None:
    place = Place(CUDA, ("tensorrt", "ort-cuda"), graphs=(False, True), lacking={"tensorrt-rtx": "not installed"})
    names = [each.name for each in contenders(place)]
    of_fp32 = [
        *("PyTorch eager fp32", "PyTorch compiled fp32", "PyTorch compiled fp32, CUDA graph"),
        *("tensorrt fp32", "tensorrt fp32, CUDA graph", "ort-cuda fp32", "ort-cuda fp32, CUDA graph"),
    ]
    assert names[:7] == of_fp32
    assert names[7:14] == [name.replace("fp32", "fp16") for name in of_fp32]
    assert names[14:18] == [name.replace("fp32", "int8") for name in of_fp32[3:]], "PyTorch has no int8 here"
    assert names[18:] == [*(name.replace("fp32", "bf16") for name in of_fp32), "tensorrt-rtx"]


def test_what_is_lacking_refuses_with_its_reason() -> None:
    *_, last = contenders(Place(CUDA, (), lacking={"ort-cuda": "no CUDA provider"}), compiled=False)
    with pytest.raises(EngineError, match="no CUDA provider"):
        last.open(None)  # type: ignore[arg-type]


class _Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.weight * images,)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", None), ("fp16", np.float16)])
def test_a_module_computes_in_its_precision_and_hands_float32_on(
    precision: str, dtype: type[np.float16] | None
) -> None:
    engine = ModuleEngine(_Doubling(), ("twice",), device=torch.device("cpu"), precision=precision)  # type: ignore[arg-type]
    images = np.full((1, 3, 2, 2), 1 / 3, np.float32)
    found = engine.run(images)["twice"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(
        found, 2 * (images if dtype is None else images.astype(dtype).astype(np.float32))
    )
    engine.close()
    with pytest.raises(EngineError, match="was closed"):
        engine.run(images)
