from __future__ import annotations

import getpass
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import moase_edge
from moase_edge.config.moase import MoaseSettings
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.pytorch import TorchEngine
from moase_edge.errors import ExportError
from moase_edge.export.onnx import export_onnx
from moase_edge.models.split import FrozenBackbone, sidecar_spec, tensor_specs
from tests.adapt.backbones import small_vit


def cut(**options: Any) -> FrozenBackbone:
    model = small_vit(**options)
    return FrozenBackbone(model, sidecar_spec(model, MoaseSettings(), 2))


def write(module: FrozenBackbone, path: Path) -> int:
    inputs, outputs = tensor_specs(module.spec, 32, 32)
    with torch.no_grad():
        return export_onnx(module, inputs, outputs, path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "backbone.onnx"
    assert write(cut(), path) == 18
    return path


@pytest.fixture
def engine(exported: Path) -> Iterator[OnnxRuntimeEngine]:
    opened = OnnxRuntimeEngine(exported, threads=1)
    yield opened
    opened.close()


def pictures(batch: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((batch, 3, 32, 32), dtype=np.float32)


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_every_batch_equals_pytorch(engine: OnnxRuntimeEngine, batch: int) -> None:
    expected = TorchEngine(cut(), ("mid", "out", "logits")).run(pictures(batch))
    found = engine.run(pictures(batch))
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_graph_is_valid_and_says_what_it_takes_and_gives(exported: Path) -> None:
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "images": ["batch", 3, 32, 32],
        "mid": ["batch", 5, 32],
        "out": ["batch", 5, 32],
        "logits": ["batch", 5],
    }


def test_weights_lie_inside_the_one_file(exported: Path) -> None:
    assert [path.name for path in exported.parent.iterdir()] == ["backbone.onnx"]
    weights = onnx.load(exported, load_external_data=False).graph.initializer
    assert not any(weight.external_data for weight in weights)


def test_nodes_name_their_module_and_nothing_of_the_machine(exported: Path) -> None:
    nodes = onnx.load(exported).graph.node
    assert {entry.key for node in nodes for entry in node.metadata_props} == {"pkg.torch.onnx.name_scopes"}
    assert any("model.blocks.1.mlp" in entry.value for node in nodes for entry in node.metadata_props)
    content = exported.read_bytes()
    package = Path(moase_edge.__file__).parent
    leaks = [package, package.parent, sys.prefix, torch.__path__[0], Path.home() / "x", exported.parent]
    for leak in [
        *(str(path).removesuffix("x").encode() for path in leaks),
        b"stack_trace",
        b"site-packages",
        b".py",
    ]:
        assert leak not in content, leak
    if len(getpass.getuser()) > 2:
        assert f"/{getpass.getuser()}".encode() not in content


def test_exporting_again_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    write(cut(), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()


class Large(nn.Module):
    """Says that its weights take a number of bytes."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size_bytes // 4, device="meta"))


@pytest.mark.parametrize("size_bytes", [2**31 - 2**20, 2**33])
def test_more_weights_than_one_file_holds_are_refused_before_the_export(tmp_path: Path, size_bytes: int) -> None:
    inputs, outputs = tensor_specs(cut().spec, 32, 32)
    with pytest.raises(ExportError, match=r"GiB, an ONNX file holds less than 2 GiB\. Take a smaller"):
        export_onnx(Large(size_bytes), inputs, outputs, tmp_path / "large.onnx")
    assert not list(tmp_path.iterdir())


class Looping(nn.Module):
    """Decides by the values of a picture, which no exporter can follow."""

    def forward(self, images: Tensor) -> Tensor:
        return images if bool(images.sum() > 0) else -images


def test_a_failure_of_the_exporter_is_translated_and_its_noise_settings_are_undone(tmp_path: Path) -> None:
    inputs, outputs = tensor_specs(cut().spec, 32, 32)
    logger, filters = logging.getLogger("torch.onnx"), list(warnings.filters)
    level = logger.level
    with pytest.raises(ExportError, match="could not export the backbone to ONNX"):
        export_onnx(Looping(), inputs, outputs[:1], tmp_path / "x.onnx")
    assert logger.level == level
    assert warnings.filters == filters
