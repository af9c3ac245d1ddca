"""The split method over an engine whose taps stay on its device: here the CPU, in memory that it reuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from moase_edge.adapt import build
from moase_edge.adapt.published import PublishedLearner
from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.source_statistics import load_source_statistics
from moase_edge.artifact.store import load_artifact
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.engines.base import Engine
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.onnx_runtime_device import OnnxRuntimeDeviceEngine
from moase_edge.runtime.split import SplitMethod
from moase_edge.runtime.split_method import build_split_method
from moase_edge.runtime.stages import Stages
from moase_edge.runtime.streams import answering_stream
from moase_edge.runtime.tracked_run import _with_rows

LEARNS = AdaptSettings.model_validate(
    {**ADAPT_PRESETS["edge"].model_dump(), "objectives": {"consistency": 1.0, "alignment": 1.0}}
)


def frames(count: int) -> list[NDArray[np.float32]]:
    """A source that changes to another domain half way, so that rows are steered and run again."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((count, 2, 3, 32, 32)).astype(np.float32)
    images[count // 2 :] += 2
    return list(images)


def method_over(engine: Engine, folder: Path, settings: AdaptSettings) -> SplitMethod:
    artifact = load_artifact(folder, verify=False)
    manifest = artifact.manifest
    sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
    return build_split_method(engine, sidecar, settings, load_source_statistics(artifact))


@pytest.mark.parametrize("settings", [ADAPT_PRESETS["edge"], LEARNS], ids=["tracked", "learned"])
def test_answers_are_bit_for_bit_those_of_taps_that_go_by_the_host(
    settings: AdaptSettings, steerable_artifact: Path
) -> None:
    model = steerable_artifact / "backbone.onnx"
    on_device = OnnxRuntimeDeviceEngine(model, provider="cpu", device=torch.device("cpu"))
    both = [
        method_over(engine, steerable_artifact, settings)
        for engine in (OnnxRuntimeEngine(model, threads=1), on_device)
    ]
    for images in frames(16):
        first, second = (method.predict(images, Stages()) for method in both)
        assert first.logits.tobytes() == second.logits.tobytes()
        assert first.frozen_logits is not None
        assert second.frozen_logits is not None
        assert first.frozen_logits.tobytes() == second.frozen_logits.tobytes()
        assert both[0].learn(first) == both[1].learn(second)
    assert both[0].failures == both[1].failures == {}
    assert both[0].counts() == both[1].counts()


class Broken(OnnxRuntimeDeviceEngine):
    """Taps of the second row are not finite."""

    def run_on_device(
        self, images: NDArray[np.float32], shift: NDArray[np.float32] | None = None
    ) -> Mapping[str, Tensor]:
        outputs = dict(super().run_on_device(images, shift))
        outputs["mid"][1:] = torch.inf
        return outputs


def test_taps_on_the_device_that_are_not_finite_are_answered_frozen(steerable_artifact: Path) -> None:
    engine = Broken(steerable_artifact / "backbone.onnx", provider="cpu", device=torch.device("cpu"))
    method = method_over(engine, steerable_artifact, ADAPT_PRESETS["edge"])
    prediction = method.predict(frames(1)[0], Stages())
    assert not prediction.adapted.any()
    assert method.failures == {"non-finite answer": 1}


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_rows_that_were_run_again_are_written_to_a_copy(kind: Any) -> None:
    values, again = kind([[1.0], [2.0], [3.0]]), kind([[8.0], [9.0]])
    merged = _with_rows(values, np.array([0, 2]), again)
    assert merged.tolist() == [[8], [2], [9]]
    assert values.tolist() == [[1], [2], [3]]


def test_on_the_cpu_updates_are_waited_for_and_no_stream_is_made(
    steerable_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise AssertionError("updates went beside the answers")

    monkeypatch.setattr(build, "PublishedLearner", refuse)
    method = method_over(OnnxRuntimeEngine(steerable_artifact / "backbone.onnx"), steerable_artifact, LEARNS)
    assert "updates_skipped" not in method.counts()
    assert method.learn(method.predict(frames(1)[0], Stages())) is not None


def test_updates_beside_the_answers_are_counted_and_ended_with_the_method(
    steerable_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Never:
        closed = False

        def submit(self, job: Any) -> Any:
            return self

        def done(self) -> bool:
            return False

        def close(self) -> None:
            self.closed = True

    lane = Never()
    monkeypatch.setattr(build, "_learner", lambda learner, _device: PublishedLearner(learner, lane))
    method = method_over(OnnxRuntimeEngine(steerable_artifact / "backbone.onnx"), steerable_artifact, LEARNS)
    for images in frames(4):
        method.learn(method.predict(images, Stages()))
    assert method.failures == {}
    assert method.counts()["updates_skipped"] == 3
    method.close()
    assert lane.closed


class Cuda:
    """`torch.cuda`, as far as the answers' stream goes."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def Stream(self, device: Any, priority: int) -> Any:  # noqa: N802 - PyTorch's name
        self.log.append(f"stream of priority {priority}")
        return self

    def current_stream(self, device: Any) -> str:
        return "the default stream"

    def wait_stream(self, other: str) -> None:
        self.log.append(f"wait for {other}")

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.log.append("enter")
        yield


def test_on_a_gpu_answers_have_one_stream_of_high_priority() -> None:
    cuda = Cuda()
    answering = answering_stream(torch.device("cuda"), cuda=cuda)
    for _ in range(2):
        with answering():
            pass
    assert cuda.log == ["stream of priority -1", "wait for the default stream", "enter", "enter"]
