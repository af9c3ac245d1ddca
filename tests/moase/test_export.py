"""The `edge` adapter as an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch

from moase_edge.moase.adapter import MoaseAdapter
from tests.moase.adapters import adapter_at, draw


@pytest.fixture(scope="module")
def adapter() -> MoaseAdapter:
    return adapter_at("edge", 24, rank=16).eval()


@pytest.fixture(scope="module")
def session(adapter: MoaseAdapter, tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path: Path = tmp_path_factory.mktemp("onnx") / "adapter.onnx"
    dynamic = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")},)
    torch.onnx.export(
        adapter, (draw(2, 3, 24),), path, dynamo=True, verbose=False, dynamic_shapes=dynamic, input_names=["x"]
    )
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


# The counts are computed in the graph: inputs other than the traced one must agree too, at other sizes.
@pytest.mark.parametrize(("shape", "seed"), [((2, 3, 24), 0), ((2, 3, 24), 7), ((5, 17, 24), 1)])
def test_exported_adapter_agrees_with_pytorch(
    adapter: MoaseAdapter, session: onnxruntime.InferenceSession, shape: tuple[int, int, int], seed: int
) -> None:
    x = 3 * draw(*shape, seed=seed)
    (y,) = session.run(None, {"x": x.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(y), adapter(x), rtol=1e-5, atol=1e-5)
