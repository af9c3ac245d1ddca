"""From export to answers: parity, repeatability, real weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moase_edge.artifact.store import load_artifact
from moase_edge.config.moase import MoaseSettings
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.errors import GateError
from moase_edge.export import bundle
from moase_edge.export.bundle import ExportRequest, export_artifact
from moase_edge.export.parity import ParityReport
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.models.build import build_backbone

DATA = os.environ.get("MOASE_EDGE_DATA")


def test_parity_holds_for_every_quantity_and_is_stored(digits_artifact: Path) -> None:
    stored = json.loads((digits_artifact / "parity.json").read_text())
    assert set(stored["deviations"]) == {
        "taps.mid",
        "taps.out",
        "logits.frozen",
        "logits.start",
        "logits.perturbed",
        "gradients.start",
        "gradients.perturbed",
    }
    assert all(quantity["median"] < 1e-4 for quantity in stored["deviations"].values())
    assert load_artifact(digits_artifact).manifest.parity.passed


@pytest.mark.parametrize(
    ("blocks", "preset"), [(2, "edge"), (6, "edge"), (1, "paper"), (2, "paper"), (2, "official")]
)
def test_parity_holds_for_more_blocks_and_the_other_presets(blocks: int, preset: str, tmp_path: Path) -> None:
    request = ExportRequest("digits_vit", adapt_blocks=blocks, moase=MoaseSettings(preset=preset))  # type: ignore[arg-type]
    manifest = export_artifact(request, tmp_path / "out").manifest
    assert max(manifest.parity.taps, manifest.parity.logits, manifest.parity.gradients) < 1e-4
    assert manifest.sidecar.tap_tokens == 17


def test_the_engine_takes_any_batch_and_rows_do_not_influence_each_other(digits_artifact: Path) -> None:
    engine = OnnxRuntimeEngine(digits_artifact / "backbone.onnx")
    images = np.random.default_rng(0).standard_normal((5, 3, 32, 32), dtype=np.float32)
    together = engine.run(images)
    for count in (1, 2, 4):
        for name, value in engine.run(images[:count]).items():
            np.testing.assert_allclose(value, together[name][:count], rtol=1e-4, atol=1e-5)


def test_the_onnx_file_names_modules_but_no_path_of_the_machine(digits_artifact: Path) -> None:
    content = (digits_artifact / "backbone.onnx").read_bytes()
    assert b"name_scopes" in content
    for leak in (b"stack_trace", b"site-packages", str(Path.home()).encode() + b"/", b".py"):
        assert leak not in content, leak


def test_a_failed_gate_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = ParityReport({"taps.mid": [1.0], "logits.frozen": [float("nan")], "gradients.start": [0.0]})
    monkeypatch.setattr(bundle, "check_parity", lambda *args, **kwargs: failing)
    with pytest.raises(GateError, match=r"taps.mid.*logits.frozen") as caught:
        export_artifact(ExportRequest("digits_vit"), tmp_path / "out")
    assert caught.value.exit_code == 3
    assert not list(tmp_path.iterdir())


def test_the_script_in_the_artifact_makes_it_again(digits_artifact: Path, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": paths, "OUT": str(tmp_path / "again")}
    subprocess.run(["sh", str(digits_artifact / "reproduce.sh")], env=environment, check=True, capture_output=True)
    first, again = (load_artifact(folder).manifest for folder in (digits_artifact, tmp_path / "again"))
    assert again.identity == first.identity
    assert again.files["backbone.onnx"] == first.files["backbone.onnx"]


def test_identity_changes_with_the_settings(digits_artifact: Path, tmp_path: Path) -> None:
    request = ExportRequest("digits_vit", moase=MoaseSettings(rank=8))
    other = export_artifact(request, tmp_path / "other").manifest
    assert other.identity != load_artifact(digits_artifact).manifest.identity


@pytest.mark.data
@pytest.mark.skipif(DATA is None, reason="MOASE_EDGE_DATA is unset: no real weights and photographs")
def test_real_weights_score_as_published_and_agree_with_pytorch(tmp_path: Path) -> None:
    from timm.data import create_transform, resolve_model_data_config

    data = Path(str(DATA))
    weights = data / "weights" / "deit_tiny_patch16_224.safetensors"
    labels = json.loads((data / "photos" / "labels.json").read_text())
    artifact = export_artifact(ExportRequest("deit_tiny", checkpoint=weights), tmp_path / "deit")
    model = build_backbone("deit_tiny", checkpoint=weights).model
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    engine = OnnxRuntimeEngine(artifact.path("backbone.onnx"))
    preprocess = Preprocessor(artifact.manifest.preprocess)
    ours, torchs, timms = [], [], []
    names = sorted(labels)
    for begin in range(0, len(names), 20):
        pictures = [Image.open(data / "photos" / name).convert("RGB") for name in names[begin : begin + 20]]
        images = preprocess.batch([np.asarray(picture) for picture in pictures])
        ours.append(engine.run(images)["logits"].argmax(1))
        with torch.no_grad():
            torchs.append(model(torch.from_numpy(images)).argmax(1).numpy())
            timms.append(model(torch.stack([transform(picture) for picture in pictures])).argmax(1).numpy())
    answers, truth = np.concatenate(ours), np.array([labels[name] for name in names])
    accuracy = 100 * (answers == truth).mean()
    same = [int((answers == np.concatenate(other)).sum()) for other in (torchs, timms)]
    print(f"top-1 {accuracy:.2f} %, as PyTorch {same[0]}, as timm's transform {same[1]} of {len(names)}")
    assert accuracy == pytest.approx(77.5, abs=0.5)
    assert same[0] >= 399
    assert same[1] >= 396
