"""A plan is held against outputs that its artifact stores, the first time on a device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from moase_edge.artifact.cache import Cache
from moase_edge.artifact.parity_probe import PARITY_PROBE_FILE, load_parity_probe
from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.config.precision import PrecisionSettings
from moase_edge.engines.base import Tensors
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.plan_parity import check_first_load, check_plan_parity, refuse_failed
from moase_edge.errors import GateError
from tests.blocked import run_blocked

FP16 = PrecisionSettings().thresholds["fp16"]
DEVICE = {"gpu": "Orin", "driver": "540.4"}


class Distorted:
    """The artifact's own engine, one output scaled; counts the frames that it was given."""

    name = "TensorRT (a stand-in)"

    def __init__(self, artifact: Artifact, factor: float, output: str = "mid") -> None:
        self._engine = OnnxRuntimeEngine(artifact.path("backbone.onnx"), threads=1)
        self._factor, self._output = factor, output
        self.batches: list[int] = []

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        self.batches.append(len(images))
        outputs = self._engine.run(images, shift)
        return {**outputs, self._output: outputs[self._output] * np.float32(self._factor)}

    def close(self) -> None:
        self._engine.close()


class Unsteered(Distorted):
    """An engine that takes a shift, and does not add it."""

    def run(self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None) -> Tensors:
        return super().run(images)


class LeftOnDevice(Distorted):
    """An engine whose own buffers are sound or not, two sets of them in turn, whatever it hands to the host."""

    device = "cpu"

    def __init__(self, artifact: Artifact, factor: float) -> None:
        super().__init__(artifact, 1.0)
        self._of_device, self._turn = factor, 0
        self._buffers: list[dict[str, torch.Tensor]] = [{}, {}]

    def run_on_device(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> Mapping[str, torch.Tensor]:
        self._turn = 1 - self._turn
        for name, values in self._engine.run(images, shift).items():
            tensor = torch.from_numpy(values * np.float32(self._of_device))
            self._buffers[self._turn].setdefault(name, torch.empty_like(tensor)).copy_(tensor)
        return self._buffers[self._turn]


@pytest.fixture(scope="module")
def artifact(digits_artifact: Path) -> Artifact:
    return load_artifact(digits_artifact)


@pytest.fixture(scope="module")
def steerable(steerable_artifact: Path) -> Artifact:
    return load_artifact(steerable_artifact)


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


@pytest.mark.parametrize("output", ["mid", "out", "logits", "token_means"])
def test_every_output_is_held_to_the_stored_one(output: str, steerable: Artifact) -> None:
    probe = load_parity_probe(steerable)
    assert probe is not None
    with closing(Distorted(steerable, 0.0, output)) as engine:
        with pytest.raises(GateError, match=r"relative error 1, at most .*; steered, "):
            check_plan_parity(engine, probe, steerable.manifest.thresholds["int8"])


def test_an_engine_that_ignores_its_shift_is_refused(steerable: Artifact) -> None:
    probe = load_parity_probe(steerable)
    assert probe is not None
    with closing(Unsteered(steerable, 1.0)) as engine:
        with pytest.raises(GateError, match=r"stored frames: steered, .*token means: relative error"):
            check_plan_parity(engine, probe, steerable.manifest.thresholds["int8"])


def test_what_is_left_on_the_device_is_held_to_it_too(steerable: Artifact) -> None:
    probe = load_parity_probe(steerable)
    assert probe is not None
    with closing(LeftOnDevice(steerable, 1.0)) as engine:
        check_plan_parity(engine, probe, FP16)
    with closing(LeftOnDevice(steerable, 1.2)) as engine:
        with pytest.raises(GateError, match=r"frames: left on the device, .*; left on the device, steered, "):
            check_plan_parity(engine, probe, FP16)


def test_a_plan_is_judged_by_the_thresholds_of_its_artifact(artifact: Artifact, tmp_path: Path) -> None:
    loose = FP16.model_copy(update={"relative_error": 0.3})
    thresholds = {**artifact.manifest.thresholds, "fp32": loose}
    judged = replace(artifact, manifest=artifact.manifest.model_copy(update={"thresholds": thresholds}))
    entry = artifact.manifest.engines[0]
    with closing(Distorted(artifact, 1.2)) as engine:
        with pytest.raises(GateError, match=r"relative error 0.2, at most 0.005"):
            check_first_load(engine, artifact, entry, Cache(tmp_path), DEVICE)
        check_first_load(engine, judged, entry, Cache(tmp_path), DEVICE)


def test_a_device_checks_a_plan_once(artifact: Artifact, tmp_path: Path) -> None:
    entry, cache = artifact.manifest.engines[0], Cache(tmp_path)
    with closing(Distorted(artifact, 1.0)) as engine:
        check_first_load(engine, artifact, entry, cache, DEVICE)
        check_first_load(engine, artifact, entry, cache, DEVICE)
        assert len(engine.batches) == 4
        check_first_load(engine, artifact, entry, cache, {**DEVICE, "driver": "550"})
        assert len(engine.batches) == 8


def test_another_version_of_tensorrt_and_another_probe_are_no_check_that_was_made(
    artifact: Artifact, tmp_path: Path
) -> None:
    entry, cache = artifact.manifest.engines[0], Cache(tmp_path)
    other = {**artifact.manifest.files, PARITY_PROBE_FILE: "0" * 64}
    moved = Artifact(artifact.folder, artifact.manifest.model_copy(update={"files": other}))
    half = entry.model_copy(update={"precision": "fp16"})
    with closing(Distorted(artifact, 1.0)) as engine:
        check_first_load(engine, artifact, entry, cache, {**DEVICE, "tensorrt": "10.3.0"})
        for checked, of in ((artifact, entry), (moved, entry), (artifact, half)):
            before = len(engine.batches)
            check_first_load(engine, checked, of, cache, {**DEVICE, "tensorrt": "10.9.0"})
            assert len(engine.batches) == before + 4


def test_a_failure_is_remembered_as_one_of_this_device_alone(artifact: Artifact, tmp_path: Path) -> None:
    entry, cache = artifact.manifest.engines[0], Cache(tmp_path)
    refuse_failed(artifact, entry, cache, DEVICE)
    with closing(Distorted(artifact, 2.0)) as engine:
        for _ in range(2):
            with pytest.raises(GateError) as told:
                check_first_load(engine, artifact, entry, cache, DEVICE)
    with pytest.raises(GateError, match="found at its first load and is remembered") as again:
        refuse_failed(artifact, entry, cache, DEVICE)
    assert str(again.value).startswith(str(told.value))
    refuse_failed(artifact, entry, cache, {**DEVICE, "driver": "550"})
    with closing(Distorted(artifact, 1.0)) as sound:
        check_first_load(sound, artifact, entry, cache, DEVICE)
    refuse_failed(artifact, entry, cache, DEVICE)


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
