"""fp16 on real weights and photographs; docs/precision.md has the figures of all 400."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moase_edge.export.bundle import export_artifact
from moase_edge.export.request import ExportRequest

# A third of them is held out of the ranges, and compared.
FIRST_PHOTOS = "0[0-1]*.jpg"


@pytest.mark.data
def test_fp16_answers_photographs_as_fp32_does(data_folder: Path, tmp_path: Path) -> None:
    request = ExportRequest(
        "deit_tiny",
        checkpoint=data_folder / "weights" / "deit_tiny_patch16_224.safetensors",
        precision="fp16",
        calib_data=str(data_folder / "photos" / FIRST_PHOTOS),
        steer=False,
    )
    artifact = export_artifact(request, tmp_path / "deit")
    parity = artifact.manifest.engines[0].parity
    assert parity is not None
    assert parity.top1_agreement is not None
    assert parity.top1_agreement >= 0.99
    assert parity.cosine > 0.9999
    assert parity.relative_error < 0.004
    assert parity.gradients < 0.02
    found = json.loads(artifact.path("parity.json").read_text())["precisions"]["fp16"]
    assert len(found["cosine"]) >= 16
