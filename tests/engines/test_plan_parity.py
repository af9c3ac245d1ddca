"""A plan is held against outputs that its artifact stores, the first time on a device."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from moase_edge.artifact.cache import Cache
from moase_edge.artifact.parity_probe import load_parity_probe
from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.config.precision import PrecisionSettings
from moase_edge.engines.base import Tensors
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.plan_parity import check_first_load, check_plan_parity
from moase_edge.errors import GateError
from tests.blocked import run_blocked

FP16 = PrecisionSettings().thresholds["fp16"]
DEVICE = {"gpu": "Orin", "driver": "540.4"}


class Distorted:
    """The artifact's own engine, its taps scaled; counts the frames that it was given."""

    name = "TensorRT (a stand-in)"

    def __init__(self, artifact: Artifact, factor: float) -> None:
        self._engine = OnnxRuntimeEngine(artifact.path("backbone.onnx"), threads=1)
        self._factor = factor
        self.batches: list[int] = []

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        self.batches.append(len(images))
        outputs = self._engine.run(images, shift)
        return {**outputs, "mid": outputs["mid"] * np.float32(self._factor)}

    def close(self) -> None:
        self._engine.close()


@pytest.fixture(scope="module")
def artifact(digits_artifact: Path) -> Artifact:
    return load_artifact(digits_artifact)


def test_an_engine_that_computes_the_same_passes_whatever_batch_it_takes(artifact: Artifact) -> None:
    probe = load_parity_probe(artifact)
    assert probe is not None
    with closing(Distorted(artifact, 1.0)) as engine:
        check_plan_parity(engine, probe, FP16, batch=3)
        assert engine.batches == [3] * len(probe.images) == [3, 3, 3, 3]


def test_one_that_does_not_is_refused_with_what_fails(artifact: Artifact) -> None:
    probe = load_parity_probe(artifact)
    assert probe is not None
    with closing(Distorted(artifact, 1.2)) as engine:
        with pytest.raises(GateError, match=r"a stand-in\) does not compute .* relative error 0.2, at most 0.01"):
            check_plan_parity(engine, probe, FP16)


def test_a_device_checks_a_plan_once(artifact: Artifact, tmp_path: Path) -> None:
    entry, cache = artifact.manifest.engines[0], Cache(tmp_path)
    with closing(Distorted(artifact, 1.0)) as engine:
        check_first_load(engine, artifact, entry, cache, DEVICE)
        check_first_load(engine, artifact, entry, cache, DEVICE)
        assert len(engine.batches) == 4
        check_first_load(engine, artifact, entry, cache, {**DEVICE, "driver": "550"})
        assert len(engine.batches) == 8


def test_a_failure_is_not_remembered_as_a_pass(artifact: Artifact, tmp_path: Path) -> None:
    entry, cache = artifact.manifest.engines[0], Cache(tmp_path)
    with closing(Distorted(artifact, 2.0)) as engine:
        for _ in range(2):
            with pytest.raises(GateError):
                check_first_load(engine, artifact, entry, cache, DEVICE)


def test_a_device_without_torch_and_onnx_can_check(digits_artifact: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from moase_edge.artifact.parity_probe import load_parity_probe
    from moase_edge.artifact.store import load_artifact
    from moase_edge.config.precision import PrecisionSettings
    from moase_edge.engines.open import open_engine
    from moase_edge.engines.plan_parity import check_plan_parity
    artifact = load_artifact(Path(sys.argv[1]))
    probe = load_parity_probe(artifact)
    check_plan_parity(open_engine(artifact, "ort"), probe, PrecisionSettings().thresholds["fp32"])
    print("passed")
    """
    assert run_blocked(code, ["torch", "timm", "onnx"], [digits_artifact]).strip() == "passed"
