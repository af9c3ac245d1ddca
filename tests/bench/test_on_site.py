"""The whole measurement, on digits as a camera might have taken them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from moase_edge.bench.on_site import measure_on_site
from moase_edge.bench.site_figures import OnSite
from moase_edge.bench.site_report import write_on_site
from moase_edge.config.adapt import AdaptSettings
from moase_edge.data.digits import load_digits_split
from moase_edge.errors import AdaptationError, ArtifactError, ConfigError
from moase_edge.runtime.pipeline import Pipeline
from tests.blocked import run_blocked

PICTURES = 40
FAST = AdaptSettings(objectives={"consistency": 1.0}, lr=0.05, alpha=0.5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy digits in folders of their classes, named by time."""
    folder = tmp_path_factory.mktemp("site")
    digits = load_digits_split("test")
    rng = np.random.default_rng(0)
    for index in range(PICTURES):
        noisy = np.clip(digits.images[index] + rng.normal(0, 90, digits.images[index].shape), 0, 255)
        path = folder / digits.names[digits.labels[index]] / f"{index:04}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noisy.astype(np.uint8)).save(path)
    return folder


def measured(pictures: Path, artifact: Path, **options: Any) -> OnSite:
    given = {"seeds": (1,), "rounds": 2, "samples": 200, "settings": FAST, "threads": 1, **options}
    return measure_on_site(pictures, artifact, **given)


@pytest.fixture(scope="module")
def stages() -> list[str]:
    return []


@pytest.fixture(scope="module")
def first(pictures: Path, digits_artifact: Path, stages: list[str]) -> OnSite:
    return measured(pictures, digits_artifact, on_stage=stages.append)


def test_both_modes_answer_all_pictures_and_adapting_learns(
    first: OnSite, pictures: Path, stages: list[str]
) -> None:
    assert (first.pictures, first.rounds, len(first.by_picture)) == (PICTURES, 2, PICTURES)
    assert [picture.file[-8:-4] for picture in first.by_picture] == [f"{index:04}" for index in range(PICTURES)]
    assert [(order.name, order.updates) for order in first.by_order] == [
        ("camera", 2 * PICTURES),
        ("shuffled 1", 2 * PICTURES),
    ]
    assert all(not order.failures and not order.answered_frozen for order in first.by_order)
    assert first.last.changed > 0
    assert first.last.error.mean == pytest.approx(first.frozen_error - first.last.mended + first.last.broken)
    assert stages[0] == f"reading the pictures of {pictures}"
    assert len(stages) == 5


def test_the_frozen_error_is_that_of_the_pipeline(first: OnSite, pictures: Path, digits_artifact: Path) -> None:
    digits = load_digits_split("test")
    answers = {}
    pipeline = Pipeline.open(digits_artifact, adapt="off", threads=1)
    for folder in sorted(path for path in pictures.iterdir()):
        answers.update({result.frame.name: result.prediction for result in pipeline.run(str(folder))})
    pipeline.close()
    wrong = [answers[f"{index:04}.png"] != digits.labels[index] for index in range(PICTURES)]
    assert first.frozen_error == pytest.approx(100 * np.mean(wrong))
    assert [picture.frozen_wrong for picture in first.by_picture] == wrong


def test_the_camera_s_first_round_is_what_run_answers(
    first: OnSite, pictures: Path, digits_artifact: Path, tmp_path: Path
) -> None:
    for picture in first.by_picture:
        (tmp_path / Path(picture.file).name).symlink_to(pictures / picture.file)
    pipeline = Pipeline.open(digits_artifact, settings=FAST, threads=1)
    answers = [str(result.prediction) for result in pipeline.run(str(tmp_path))]
    pipeline.close()
    wrong = [answer != picture.label for answer, picture in zip(answers, first.by_picture, strict=True)]
    assert first.by_order[0].first_error == pytest.approx(100 * np.mean(wrong))


def test_all_but_the_times_repeats(first: OnSite, pictures: Path, digits_artifact: Path) -> None:
    plain, again = first.plain(), measured(pictures, digits_artifact).plain()
    assert plain.pop("measured") != again.pop("measured")
    assert plain == again


def test_labels_never_reach_the_learner(
    first: OnSite, pictures: Path, digits_artifact: Path, tmp_path: Path
) -> None:
    """With every label another one the answers stay: the same pictures change, though errors differ."""
    labels = {}
    for picture in first.by_picture:
        name = Path(picture.file).name
        (tmp_path / name).symlink_to(pictures / picture.file)
        labels[name] = (int(picture.label) + 1) % 10
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    lied = measured(tmp_path, digits_artifact)
    assert (lied.first.changed, lied.last.changed) == (first.first.changed, first.last.changed)
    assert lied.frozen_error != first.frozen_error


def test_times_are_of_both_modes(first: OnSite) -> None:
    frozen, adapting = first.measured["frozen"], first.measured["adapting"]
    assert list(frozen) == ["engine", "ms_per_frame"]
    assert list(adapting) == ["engine", "sidecar", "update", "ms_per_frame"]
    assert all(ms > 0 for ms in [*frozen.values(), *adapting.values()])
    assert adapting["ms_per_frame"] == pytest.approx(adapting["engine"] + adapting["sidecar"] + adapting["update"])


def test_what_was_run_is_told_and_written(first: OnSite, digits_artifact: Path, tmp_path: Path) -> None:
    identity = json.loads((digits_artifact / "manifest.json").read_text())["identity"]
    assert first.artifact["identity"] == identity
    assert first.settings["learner"]["lr"] == FAST.lr
    assert "recorded" not in first.artifact["engine"]
    write_on_site(tmp_path, first)
    assert json.loads((tmp_path / "on_site.json").read_text())["results"] == first.plain()["results"]


def test_a_learner_that_fails_leaves_the_frozen_answers(
    pictures: Path, digits_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AdaptationError("not finite")

    monkeypatch.setattr("moase_edge.adapt.learner.Learner.learn", fail)
    found = measured(pictures, digits_artifact, seeds=(), rounds=1)
    assert found.last.changed == 0
    assert found.by_order[0].updates == 0
    assert found.by_order[0].failures == {"learner: AdaptationError": 1}
    assert found.by_order[0].answered_frozen == PICTURES - 1


@pytest.mark.parametrize(
    ("options", "words"),
    [({"rounds": 0}, "0 rounds"), ({"seeds": (1, 1)}, "each once"), ({"seeds": (-1,)}, "seeds from 0")],
)
def test_settings_out_of_range_are_refused(
    options: dict[str, Any], words: str, pictures: Path, digits_artifact: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        measured(pictures, digits_artifact, **options)


def test_a_folder_that_is_no_artifact_is_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no artifact"):
        measured(pictures, tmp_path)


def test_without_pytorch_the_extra_is_named(pictures: Path, digits_artifact: Path) -> None:
    code = """
    import sys
    from moase_edge.bench.on_site import measure_on_site
    from moase_edge.bench.site_report import write_on_site
    from moase_edge.errors import ConfigError
    try:
        measure_on_site(sys.argv[1], sys.argv[2])
    except ConfigError as exc:
        print(exc)
    """
    assert "moase-edge[adapt]" in run_blocked(code, ["torch"], [pictures, digits_artifact])
