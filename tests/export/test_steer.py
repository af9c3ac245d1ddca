"""Engines and artifacts that can be steered: the same answer for zeros, and everything that says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from moase_edge.artifact.source_statistics import SOURCE_STATISTICS_FILE, load_source_statistics
from moase_edge.artifact.store import load_artifact
from moase_edge.calib.on_site import calibrate_source
from moase_edge.calib.source_data import open_source_data
from moase_edge.config.moase import MoaseSettings
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.pytorch import TorchEngine
from moase_edge.export.bundle import ExportRequest, export_artifact
from moase_edge.export.onnx import export_onnx
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.models.split import sidecar_spec, tensor_specs
from moase_edge.models.steer import SteerableBackbone, cut
from tests.adapt.backbones import CHANNELS, DEPTH, small_vit
from tests.blocked import run_blocked
from tests.cli.commands import write_pictures

NAMES = ("mid", "out", "logits", "token_means")
# Options of the backbone, and how many blocks are adapted.
SPLITS: dict[str, tuple[dict[str, Any], int]] = {
    "distilled": ({"distilled": True}, 1),
    "average of all tokens": ({"global_pool": "avg"}, 1),
    "registers, norm before the blocks, two blocks": ({"init_values": 0.5, "reg_tokens": 2, "pre_norm": True}, 2),
}


class Pair(NamedTuple):
    """A backbone that can be steered in PyTorch, and the engines of one that cannot be and of one that can."""

    module: nn.Module
    plain: OnnxRuntimeEngine
    steerable: OnnxRuntimeEngine


@pytest.fixture(scope="module", params=SPLITS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    options, adapt_blocks = SPLITS[request.param]
    model, folder = small_vit(**options), tmp_path_factory.mktemp("onnx")
    spec = sidecar_spec(model, MoaseSettings(), adapt_blocks)
    for steer in (False, True):
        with torch.no_grad():
            specs = tensor_specs(spec, 32, 32, steer=steer)
            export_onnx(cut(model, spec, steer=steer), *specs, folder / f"{steer}.onnx")
    engines = (OnnxRuntimeEngine(folder / f"{steer}.onnx", threads=1) for steer in (False, True))
    return Pair(SteerableBackbone(model, spec), *engines)


def pictures(batch: int) -> NDArray[np.float32]:
    return np.random.default_rng(batch).standard_normal((batch, 3, 32, 32), dtype=np.float32)


def refuse_any_difference(plain: OnnxRuntimeEngine, steerable: OnnxRuntimeEngine) -> None:
    for batch in (1, 2, 5):
        expected, found = plain.run(pictures(batch)), steerable.run(pictures(batch))
        for name, value in expected.items():
            assert found[name].tobytes() == value.tobytes(), (batch, name)


def test_zeros_give_the_same_bits_as_the_graph_that_cannot_be_steered(pair: Pair) -> None:
    refuse_any_difference(pair.plain, pair.steerable)


def test_zeros_give_the_same_bits_for_digits_vit(digits_artifact: Path, steerable: Path) -> None:
    paths = [folder / "backbone.onnx" for folder in (digits_artifact, steerable)]
    refuse_any_difference(*(OnnxRuntimeEngine(path, threads=1) for path in paths))


def test_a_shift_does_in_onnx_runtime_what_it_does_in_pytorch(pair: Pair) -> None:
    shift = np.random.default_rng(1).standard_normal((3, DEPTH, CHANNELS), dtype=np.float32)
    expected = TorchEngine(pair.module, NAMES, blocks=(DEPTH, CHANNELS)).run(pictures(3), shift)
    found, plain = pair.steerable.run(pictures(3), shift), pair.steerable.run(pictures(3))
    assert tuple(found) == NAMES
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
        assert np.abs(plain[name] - value).max() > 1e-2, name


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("private") / "photos", 3)


@pytest.fixture(scope="module")
def steerable(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts") / "steerable"
    return export_artifact(ExportRequest("digits_vit", source_data=str(photos), steer=True), folder).folder


def test_the_manifest_says_what_the_graph_takes_and_gives(steerable: Path) -> None:
    manifest = load_artifact(steerable).manifest
    graph = onnx.load(steerable / "backbone.onnx").graph
    assert manifest.steerable
    for tensors, values in ((manifest.inputs, graph.input), (manifest.outputs, graph.output)):
        shapes = [
            (value.name, tuple(size.dim_value or None for size in value.type.tensor_type.shape.dim))
            for value in values
        ]
        assert shapes == [(tensor.name, tensor.shape) for tensor in tensors]
    assert [tensor.name for tensor in manifest.inputs] == ["images", "shift"]
    assert [tensor.name for tensor in manifest.outputs] == list(NAMES)


def test_its_identity_is_another_one(steerable: Path, digits_artifact: Path) -> None:
    plain = load_artifact(digits_artifact).manifest
    assert not plain.steerable
    assert load_artifact(steerable).manifest.identity != plain.identity


def test_parity_was_checked_under_a_shift(steerable: Path) -> None:
    content = (steerable / "parity.json").read_text()
    for quantity in ("taps.mid.steered", "taps.out.steered", "logits.steered", "taps.token_means"):
        assert f'"{quantity}"' in content


def test_source_statistics_have_the_token_means_of_unsteered_pictures(steerable: Path, photos: Path) -> None:
    artifact = load_artifact(steerable)
    statistics = load_source_statistics(artifact)
    assert statistics is not None
    assert statistics.token_means is not None
    assert statistics.token_means.mean.shape == statistics.token_means.std.shape == (6, 64)
    preprocess = Preprocessor(artifact.manifest.preprocess)
    with closing(open_source_data(str(photos))) as source:
        images = [preprocess.batch([frame.image]) for frame in source.frames()]
    engine = OnnxRuntimeEngine(steerable / "backbone.onnx")
    means = np.concatenate([engine.run(image)["token_means"] for image in images]).astype(np.float64)
    np.testing.assert_allclose(statistics.token_means.mean, means.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(statistics.token_means.std, means.std(axis=0), atol=1e-5)


def test_on_site_they_are_recorded_too(steerable: Path, photos: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(steerable, tmp_path / "artifacts" / "copy"))
    with closing(open_source_data(str(photos))) as source:
        calibrate_source(load_artifact(folder), source, force=True)
    assert (folder / SOURCE_STATISTICS_FILE).read_bytes() == (steerable / SOURCE_STATISTICS_FILE).read_bytes()


def test_the_script_makes_it_again(steerable: Path, photos: Path, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": paths, "OUT": str(tmp_path / "again"), "SOURCE_DATA": str(photos)}
    subprocess.run(["sh", str(steerable / "reproduce.sh")], env=environment, check=True, capture_output=True)
    first, again = (load_artifact(folder).manifest for folder in (steerable, tmp_path / "again"))
    assert again.identity == first.identity
    for name in ("backbone.onnx", SOURCE_STATISTICS_FILE):
        assert again.files[name] == first.files[name]


def test_the_frozen_model_answers_from_it_without_pytorch(
    steerable: Path, digits_artifact: Path, photos: Path
) -> None:
    code = """
    import sys
    from moase_edge.frames.open import open_source
    from moase_edge.runtime.pipeline import Pipeline
    with open_source(sys.argv[2]) as source:
        for result in Pipeline.open(sys.argv[1], adapt="off").run(source):
            print(result.prediction, result.confidence)
    """
    missing = ["torch", "torchvision", "timm", "onnx"]
    found, expected = (run_blocked(code, missing, [folder, photos]) for folder in (steerable, digits_artifact))
    assert found == expected
    assert found.count("\n") == 3
