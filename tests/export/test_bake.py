"""Baking: one plain ONNX file that answers as `run --adapt hold` does, also on another runtime than ours."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from moase_edge.adapt.state import LearnedState
from moase_edge.adapt.tracker import FixedCorrection
from moase_edge.artifact.store import MANIFEST, load_artifact, write_manifest
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.base import load_settings
from moase_edge.errors import ConfigError, GateError
from moase_edge.export import bake as baking
from moase_edge.export.bake import TOLERANCE, BakeReport, bake
from moase_edge.frames.open import open_source
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.runtime.method import Stateful
from moase_edge.runtime.pipeline import Pipeline
from tests.cli.kept import QUICK, write_stream

LEARNING: dict[str, Any] = {"objectives": {"consistency": 1.0}, "lr": 1e-2, "alpha": 0.5}


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(tmp_path_factory.mktemp("baked") / "stream")


def settings_of(more: dict[str, Any]) -> AdaptSettings:
    return load_settings(AdaptSettings, {**QUICK, **more})


def learned_on(artifact: Path, stream: Path, settings: AdaptSettings) -> LearnedState:
    with closing(Pipeline.open(artifact, settings=settings, threads=1)) as pipeline:
        for _ in pipeline.run(stream):
            pass
        assert isinstance(pipeline.method, Stateful)
        state = pipeline.method.state()
    assert isinstance(state, LearnedState)
    return state


def held_answers(
    artifact: Path, stream: Path, settings: AdaptSettings, state: LearnedState
) -> NDArray[np.float32]:
    with closing(Pipeline.open(artifact, adapt="hold", settings=settings, threads=1)) as pipeline:
        assert isinstance(pipeline.method, Stateful)
        pipeline.method.load(state)
        return np.stack([result.logits for result in pipeline.run(stream)])


def images_of(artifact: Path, stream: Path) -> NDArray[np.float32]:
    preprocess = Preprocessor(load_artifact(artifact).manifest.preprocess)
    with open_source(str(stream)) as source:
        return preprocess.batch([frame.image for frame in source.frames()])


def plain_answers(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """ONNX Runtime alone, the whole batch at once."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["images"]
    (logits,) = session.run(["logits"], {"images": images})
    return np.asarray(logits)


def baked(artifact: Path, settings: AdaptSettings, state: LearnedState, out: Path) -> BakeReport:
    return bake(load_artifact(artifact), settings, state, out)


@pytest.mark.parametrize("more", [{}, LEARNING], ids=["tracked", "learned weights"])
def test_one_onnx_file_answers_digits_as_the_held_run_does_steering_included(
    more: dict[str, Any], steerable_artifact: Path, stream: Path, tmp_path: Path
) -> None:
    settings, out = settings_of(more), tmp_path / "baked.onnx"
    state = learned_on(steerable_artifact, stream, settings)
    report = baked(steerable_artifact, settings, state, out)
    assert report.domains >= 2
    assert report.steered >= 1
    assert report.deviation < TOLERANCE
    expected = held_answers(steerable_artifact, stream, settings, state)
    found = plain_answers(out, images_of(steerable_artifact, stream))
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    # And it is no frozen answer.
    frozen = plain_answers_of_frozen(steerable_artifact, stream)
    assert np.abs(found - frozen).max() > 1e-2 * np.abs(frozen).max()


def plain_answers_of_frozen(artifact: Path, stream: Path) -> NDArray[np.float32]:
    with closing(Pipeline.open(artifact, adapt="off", threads=1)) as pipeline:
        return np.stack([result.logits for result in pipeline.run(stream)])


@pytest.mark.parametrize("name", ["tracked_artifact", "digits_artifact"])
def test_an_engine_without_token_means_is_baked_too(
    name: str, stream: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    artifact = request.getfixturevalue(name)
    settings, out = settings_of(LEARNING), tmp_path / "baked.onnx"
    state = learned_on(artifact, stream, settings)
    report = baked(artifact, settings, state, out)
    assert (report.domains, report.steered) == (int(name == "tracked_artifact"), 0)
    expected = held_answers(artifact, stream, settings, state)
    found = plain_answers(out, images_of(artifact, stream))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_steerable_engine_of_which_nothing_is_tracked_is_baked_without_a_shift(
    steerable_artifact: Path, stream: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(steerable_artifact, tmp_path / "untracked"))
    fields = load_artifact(folder).manifest.model_dump()
    (folder / MANIFEST).unlink()
    write_manifest(folder, {**fields, "source_statistics": ()})
    settings = settings_of(LEARNING)
    state = learned_on(folder, stream, settings)
    assert baked(folder, settings, state, tmp_path / "baked.onnx").domains == 0
    expected = held_answers(folder, stream, settings, state)
    found = plain_answers(tmp_path / "baked.onnx", images_of(folder, stream))
    assert np.allclose(found, expected, atol=1e-4)


def test_a_baked_file_says_how_to_preprocess_and_holds_nothing_that_is_not_needed(
    steerable_artifact: Path, stream: Path, tmp_path: Path
) -> None:
    settings, out = settings_of({}), tmp_path / "baked.onnx"
    baked(steerable_artifact, settings, learned_on(steerable_artifact, stream, settings), out)
    model = onnx.load(out)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    manifest = load_artifact(steerable_artifact).manifest
    assert json.loads(notes["preprocess"])["height"] == manifest.preprocess.height
    assert notes["identity"] == manifest.identity
    read = {name for node in model.graph.node for name in node.input} | {"logits"}
    assert all(set(node.output) & read for node in model.graph.node)
    assert all(entry.name in read for entry in model.graph.initializer)


def test_nothing_is_written_where_the_guard_has_the_frozen_model_answer(
    steerable_artifact: Path, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of({})
    state = learned_on(steerable_artifact, stream, settings)
    monkeypatch.setattr(baking.Adaptation, "trusted", False)
    with pytest.raises(ConfigError, match="nothing to bake"):
        baked(steerable_artifact, settings, state, tmp_path / "baked.onnx")
    assert not (tmp_path / "baked.onnx").exists()


def test_a_graph_that_answers_otherwise_is_refused_and_not_written(
    steerable_artifact: Path, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of({})
    state = learned_on(steerable_artifact, stream, settings)
    real = baking.held_answer
    monkeypatch.setattr(baking, "held_answer", lambda *given: real(*given) + 0.1)
    with pytest.raises(GateError, match="off the held answer"):
        baked(steerable_artifact, settings, state, tmp_path / "baked.onnx")
    assert not (tmp_path / "baked.onnx").exists()


def test_a_state_of_another_precision_is_refused(steerable_artifact: Path, stream: Path, tmp_path: Path) -> None:
    settings = settings_of({})
    state = learned_on(steerable_artifact, stream, settings)
    with pytest.raises(ConfigError, match="learned on an engine of int8"):
        bake(load_artifact(steerable_artifact), settings, state, tmp_path / "baked.onnx", precision="int8")
    assert not (tmp_path / "baked.onnx").exists()


@pytest.mark.parametrize("fault", ["one image", "one domain"])
def test_one_answer_that_is_off_is_enough_to_refuse(
    fault: str, steerable_artifact: Path, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of({})
    state = learned_on(steerable_artifact, stream, settings)
    if fault == "one image":
        real, offs = baking.held_answer, iter([0.1, *[0.0] * baking.IMAGES])
        monkeypatch.setattr(baking, "held_answer", lambda *given: real(*given) + next(offs))
    else:
        monkeypatch.setattr(baking, "Recognise", OffInTheLast)
    with pytest.raises(GateError, match="off the held answer"):
        baked(steerable_artifact, settings, state, tmp_path / "baked.onnx")


class OffInTheLast(baking.Recognise):
    """Recognises every domain but the last as it should."""

    def __init__(self, fixed: FixedCorrection) -> None:
        super().__init__(fixed)
        self.offsets[-1] += 1
