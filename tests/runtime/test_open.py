"""The pipeline over a real artifact: the small model that ships with the package."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from moase_edge.adapt.build import build_adaptation
from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.source_statistics import load_source_statistics
from moase_edge.artifact.store import load_artifact
from moase_edge.calib.on_site import calibrate_source
from moase_edge.calib.source_data import open_source_data
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.track import TrackSettings
from moase_edge.data.digits import load_digits_split
from moase_edge.engines.open import open_engine
from moase_edge.errors import ArtifactError, ConfigError
from moase_edge.export.write import SIDECAR_FILE
from moase_edge.frames.open import open_source
from moase_edge.runtime import pipeline as pipeline_module
from moase_edge.runtime.method import counts_of
from moase_edge.runtime.open_split import what_is_missing
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.scheduler import parse_schedule
from moase_edge.runtime.session import prepare_report_folder, run_and_report
from moase_edge.runtime.split import SplitMethod

FRAMES = 24
# Weights learn by default in no mode.
LEARNING = AdaptSettings(objectives={"consistency": 1.0}, lr=0.02, alpha=0.5)


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of digits, some of them noisy."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    for index, image in enumerate(load_digits_split("test").images[:FRAMES]):
        noise = rng.normal(0, 60 * (index % 3), image.shape)
        cv2.imwrite(str(folder / f"{index:03}.png"), np.clip(image + noise, 0, 255).astype(np.uint8))
    return folder


def answers(artifact: Path, folder: Path, **arguments: Any) -> list[np.ndarray[Any, Any]]:
    with closing(Pipeline.open(artifact, threads=1, **arguments)) as pipeline:
        return [result.logits.copy() for result in pipeline.run(str(folder))]


def test_off_answers_with_the_engine_s_own_logits(digits_artifact: Path, digits_folder: Path) -> None:
    with closing(Pipeline.open(digits_artifact, adapt="off", threads=1)) as pipeline:
        results = list(pipeline.run(str(digits_folder)))
    assert len(results) == FRAMES
    for result in results:
        assert result.frozen_logits is not None
        assert np.array_equal(result.logits, result.frozen_logits)
        assert not result.adapted
    labels = load_digits_split("test").labels[:FRAMES]
    clean = [result.prediction == label for result, label in zip(results, labels, strict=True)][::3]
    assert np.mean(clean) >= 0.75


def test_hold_answers_as_off_does_at_the_start(digits_artifact: Path, digits_folder: Path) -> None:
    held, frozen = (answers(digits_artifact, digits_folder, adapt=mode) for mode in ("hold", "off"))
    np.testing.assert_allclose(held, frozen, atol=1e-5)


def test_hold_never_changes_a_weight(digits_artifact: Path, digits_folder: Path) -> None:
    with closing(Pipeline.open(digits_artifact, adapt="hold", settings=LEARNING, threads=1)) as pipeline:
        assert isinstance(pipeline.method, SplitMethod)
        learner = pipeline.method._adaptation._learner
        assert learner is not None
        before = learner.snapshot()
        assert all(result.adapted for result in pipeline.run(str(digits_folder)))
        after = learner.snapshot()
    assert learner.updates == 0
    for first, second in zip(before.student + before.teacher, after.student + after.teacher, strict=True):
        assert first.equal(second)
    assert pipeline.record.counts["updates"] == 0
    assert "update" not in pipeline.record.profile.summaries()


def test_every_answers_as_hold_until_it_has_learned(digits_artifact: Path, digits_folder: Path) -> None:
    held, learning = (
        answers(digits_artifact, digits_folder, adapt=mode, settings=LEARNING) for mode in ("hold", "every")
    )
    assert np.array_equal(held[0], learning[0])
    assert not np.allclose(held[-1], learning[-1], atol=1e-3)


def write_veiled_digits(folder: Path) -> Path:
    """Another domain than that of the source images: grey instead of black, and little contrast."""
    folder.mkdir(exist_ok=True)
    for index, image in enumerate(load_digits_split("test").images[:FRAMES]):
        cv2.imwrite(str(folder / f"{index:03}.png"), (60 + 0.35 * image).astype(np.uint8))
    return folder


def test_every_corrects_for_the_domain_once_it_has_seen_enough_of_it(
    steerable_artifact: Path, tmp_path: Path
) -> None:
    write_veiled_digits(tmp_path)
    held, tracked = (answers(steerable_artifact, tmp_path, adapt=mode) for mode in ("hold", "every"))
    assert np.array_equal(held[0], tracked[0])
    assert not np.allclose(held, tracked, atol=1e-3)


def test_with_source_statistics_and_without_objectives_no_weight_is_trained(
    tracked_artifact: Path, digits_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Pipeline.open(tracked_artifact, threads=1)) as pipeline:
        assert isinstance(pipeline.method, SplitMethod)
        assert pipeline.method._adaptation._learner is None
        list(pipeline.run(str(digits_folder)))
    assert pipeline.record.counts["updates"] > 0
    assert caplog.records == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "holds no source statistics, so nothing adapts"),
        ({"settings": LEARNING}, "so weights learn, and nothing is corrected"),
        ({"adapt": "hold"}, None),
        ({"adapt": "off"}, None),
        ({"settings": ADAPT_PRESETS["paper"]}, None),
    ],
)
def test_without_source_statistics_a_run_says_what_is_missing(
    arguments: dict[str, Any], told: str | None, digits_artifact: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Pipeline.open(digits_artifact, threads=1, **arguments).close()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (told is not None)
    assert all(
        told in message and f"calibrate --artifact {digits_artifact} --source" in message
        for message in messages
        if told
    )


UNTRACKED = TrackSettings(recentre=False, remember=False, steer=False)


@pytest.mark.parametrize(
    ("classes", "settings", "told"),
    [
        (0, AdaptSettings(), "no head with two classes or more whose answers to correct, and no objectives"),
        (1, AdaptSettings(), "no head with two classes or more whose answers to correct, and no objectives"),
        (10, AdaptSettings(track=UNTRACKED), "the settings correct nothing, and no objectives"),
        (0, LEARNING, None),
        (10, AdaptSettings(), None),
    ],
)
def test_where_nothing_can_adapt_that_is_told_with_what_to_do(
    classes: int, settings: AdaptSettings, told: str | None, tracked_artifact: Path
) -> None:
    loaded = load_artifact(tracked_artifact, verify=False)
    sidecar = loaded.manifest.sidecar.model_copy(update={"classes": classes})
    artifact = replace(loaded, manifest=loaded.manifest.model_copy(update={"sidecar": sidecar}))
    message = what_is_missing(artifact, settings, parse_schedule("every"))
    assert what_is_missing(artifact, settings, parse_schedule("hold")) is None
    if told is None:
        assert message is None
    else:
        assert message is not None
        assert told in message
        assert "--settings" in message


@pytest.mark.parametrize(("count", "told"), [(7, True), (8, False)])
def test_statistics_of_a_handful_of_images_correct_nothing_and_a_run_says_so(
    count: int, told: bool, tracked_artifact: Path
) -> None:
    loaded = load_artifact(tracked_artifact, verify=False)
    (entry,) = loaded.manifest.source_statistics
    entries = (entry.model_copy(update={"count": count}),)
    artifact = replace(loaded, manifest=loaded.manifest.model_copy(update={"source_statistics": entries}))
    message = what_is_missing(artifact, AdaptSettings(), parse_schedule("every"))
    assert (message is not None) is told
    assert not told or (message is not None and "of 7 images, and fewer than 8" in message)
    sidecar = load_sidecar(artifact.path(SIDECAR_FILE), artifact.manifest.sidecar, artifact.manifest.moase)
    statistics = load_source_statistics(loaded)
    assert statistics is not None
    adaptation = build_adaptation(sidecar, AdaptSettings(), replace(statistics, count=count))
    assert (adaptation.tracker is None) is told


def test_on_shift_trains_no_weight_before_a_shift(
    tracked_artifact: Path, digits_folder: Path, tmp_path: Path
) -> None:
    """The drift detector warms up on more frames than there are; on every frame the same weights learn."""
    updates = {}
    for mode in ("every", "on-shift"):
        with closing(Pipeline.open(tracked_artifact, adapt=mode, settings=LEARNING, threads=1)) as pipeline:
            assert isinstance(pipeline.method, SplitMethod)
            list(pipeline.run(str(digits_folder)))
            learner = pipeline.method._adaptation._learner
            assert learner is not None
            updates[mode] = learner.updates
    assert updates["every"] > 0
    assert updates["on-shift"] == 0


def test_two_runs_over_the_same_files_are_the_same_but_for_their_times(
    steerable_artifact: Path, tmp_path: Path
) -> None:
    journals, veiled = [], str(write_veiled_digits(tmp_path / "veiled"))
    for name in ("first", "second"):
        prepare_report_folder(tmp_path / name, force=False)
        with (
            closing(Pipeline.open(steerable_artifact, threads=1)) as pipeline,
            open_source(veiled) as source,
        ):
            run_and_report(
                pipeline,
                source,
                tmp_path / name,
                facts=pipeline.facts,
                on_result=lambda result: None,
            )
        journals.append([timeless(line) for line in (tmp_path / name / "frames.jsonl").read_text().splitlines()])
    assert journals[0] == journals[1]
    assert len(journals[0]) == FRAMES
    assert any(line["update"] for line in journals[0])
    assert all(
        set(line["update"]) == {"domain", "feature_shift", "steered"} for line in journals[0] if line["update"]
    )
    summary = json.loads((tmp_path / "first" / "summary.json").read_text())
    assert summary["adaptation"]["domains_found"] >= 1
    assert summary["counts"]["frozen_unknown"] + summary["counts"]["answered_frozen"] <= FRAMES


def test_a_second_run_knows_the_domains_of_the_first_and_counts_anew(
    steerable_artifact: Path, tmp_path: Path
) -> None:
    veiled = str(write_veiled_digits(tmp_path))
    with closing(Pipeline.open(steerable_artifact, threads=1)) as pipeline:
        list(pipeline.run(veiled))
        first = pipeline.counted.events
        list(pipeline.run(veiled))
        second = pipeline.counted.events
        third = next(pipeline.run(veiled))
        again = next(pipeline.run(veiled))
    assert first["domains_found"] >= 1
    assert counts_of(pipeline.method)["domains_found"] == first["domains_found"] + second["domains_found"]
    assert pipeline.counted.events["domains_found"] == 0
    # No memory of the frame that the run before ended with, and nothing was learned in between.
    assert np.array_equal(third.logits, again.logits)


def test_alignment_takes_the_artifacts_source_statistics_and_is_refused_where_there_are_none(
    digits_artifact: Path, digits_folder: Path, tmp_path: Path
) -> None:
    settings = AdaptSettings(objectives={"alignment": 1.0}, lr=0.02, alpha=0.5, track=UNTRACKED)
    with pytest.raises(ConfigError, match=r"alignment needs.*calibrate --source"):
        Pipeline.open(digits_artifact, settings=settings, threads=1)
    copy = shutil.copytree(digits_artifact, tmp_path / "digits")
    calibrate_source(load_artifact(copy), open_source_data(str(digits_folder)), max_images=10)
    held = answers(copy, digits_folder, adapt="hold")
    aligned = answers(copy, digits_folder, settings=settings)
    assert np.array_equal(held[0], aligned[0])
    assert not np.allclose(held[-1], aligned[-1], atol=1e-3)


def timeless(line: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    return {key: value for key, value in record.items() if key not in ("timings_ms", "age_ms", "timestamp_s")}


def test_two_pipelines_over_one_engine_answer_as_if_each_had_its_own(
    digits_artifact: Path, digits_folder: Path
) -> None:
    loaded = load_artifact(digits_artifact)
    with closing(open_engine(loaded, threads=1)) as engine:
        learning, frozen = (
            Pipeline.over(loaded, engine, adapt=mode, settings=LEARNING, threads=1) for mode in ("every", "off")
        )
        shared = [
            [result.logits.copy() for result in pipeline.run(str(digits_folder))]
            for pipeline in (learning, frozen)
        ]
    for mode, logits in zip(("every", "off"), shared, strict=True):
        assert np.array_equal(logits, answers(digits_artifact, digits_folder, adapt=mode, settings=LEARNING))
    assert learning.record.counts["updates"] == FRAMES
    assert frozen.facts["learner"] is None


def test_the_newest_artifact_is_taken_where_none_is_named(
    digits_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(digits_artifact, tmp_path / "artifacts" / "copy")
    monkeypatch.chdir(tmp_path)
    with closing(Pipeline.open(adapt="off")) as pipeline:
        assert pipeline.facts["artifact"] == str(Path("artifacts") / "copy")


def test_without_an_artifact_the_error_names_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="moase-edge export"):
        Pipeline.open()


def test_a_sidecar_that_cannot_be_read_releases_the_engine(
    digits_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moase_edge.adapt import sidecar
    from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine

    def refuse(*_: object) -> None:
        raise ArtifactError("no such sidecar")

    closed: list[object] = []
    monkeypatch.setattr(sidecar, "load_sidecar", refuse)
    monkeypatch.setattr(OnnxRuntimeEngine, "close", lambda engine: closed.append(engine))  # noqa: PLW0108
    with pytest.raises(ArtifactError, match="no such sidecar"):
        Pipeline.open(digits_artifact)
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("tokens", "threads", "expected"), [(1, None, [1]), (1, 3, [1]), (17, None, []), (17, 3, [3])]
)
def test_threads_are_the_engine_s_and_pytorch_s_only_for_many_tokens(
    tokens: int, threads: int | None, expected: list[int], digits_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    loaded = load_artifact(digits_artifact, verify=False)
    sidecar = loaded.manifest.sidecar.model_copy(update={"tap_tokens": tokens})
    manifest = loaded.manifest.model_copy(update={"sidecar": sidecar})
    given: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setattr(pipeline_module, "load_artifact", lambda folder: replace(loaded, manifest=manifest))
    Pipeline.open(digits_artifact, threads=threads).close()
    assert given == expected
