"""Bad input of `bench`: the right exit code, one clear message, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moase_edge.bench import benchmark
from tests.bench.finished import finish, kept, settings_of
from tests.cli.benches import TINY, ends, run_here


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "run_grid", run_here)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "tant"], "Did you mean tent"),
        (["--methods", "batch-statistics"], "needs a network with BatchNorm"),
        (["--methods", "recentre-0.9", "--source-images", "0"], "recentre-0.9 needs source images"),
        (["--methods", ","], "methods"),
        (["--protocols", "continuall"], "did you mean 'continual'"),
        (["--protocols", "clips:lenght=6"], "expected frames, order"),
        (["--protocols", "clips:6"], "expected key=value"),
        (["--protocols", "latency_aware:over=clip"], "did you mean 'clips'"),
        (["--protocols", "mixed:limit=3"], "expected none"),
        (["--corruptions", ""], "corruptions"),
        (["--seeds", "0,one"], "--seeds is '0,one'"),
        (["--seeds", "-1"], "seeds.0"),
        (["--settings", "absent.json"], "cannot read settings"),
        (["--severity", "6"], "--severity"),
        (["--pictures", "1"], "--pictures"),
        (["--jobs", "0"], "--jobs"),
        (["--compare", "absent-a", "absent-b"], "--compare does not use that"),
        (["--compare", "alone"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_made(arguments: list[str], words: str, tmp_path: Path) -> None:
    code, _, said = ends(*TINY, *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert words in said
    assert not (tmp_path / "out").exists()


def test_a_comparison_of_what_is_no_benchmark_names_it(tmp_path: Path) -> None:
    code, _, said = ends("bench", "--compare", tmp_path / "absent-a", tmp_path / "absent-b")
    assert code == 2
    assert f"{tmp_path / 'absent-a'} holds no benchmark" in said


def class_folders(root: Path, *names: str, count: int = 13) -> Path:
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (20 + index, 30), (20 * place, 10 * index, 90)).save(root / name / f"{index}.png")
    return root


def one_class(root: Path) -> str:
    return str(class_folders(root, "3"))


def index_out_of_range(root: Path) -> str:
    class_folders(root, "a", count=2)
    (root / "labels.json").write_text(json.dumps({"a/0.png": 3, "a/1.png": 10}))
    return str(root)


def cifar(root: Path) -> Path:
    root.mkdir()
    np.save(root / "labels.npy", np.tile(np.arange(10), 5))
    np.save(root / "fog.npy", np.zeros((50, 32, 32, 3), np.uint8))
    np.save(root / "clean.npy", np.zeros((10, 32, 32, 3), np.uint8))
    return root


def truncated(root: Path) -> str:
    path = cifar(root) / "fog.npy"
    path.write_bytes(path.read_bytes()[:5000])
    return f"cifar10c:{root}"


def empty(root: Path) -> str:
    (cifar(root) / "labels.npy").write_bytes(b"")
    return f"cifar10c:{root}"


def mixed_sizes(root: Path) -> str:
    pictures = np.empty(50, object)
    pictures[:] = [np.zeros((32 + index, 32, 3), np.uint8) for index in range(50)]
    np.save(cifar(root) / "fog.npy", pictures, allow_pickle=True)
    return f"cifar10c:{root}"


def other_classes(root: Path) -> str:
    return str(class_folders(root, "ant", "bee"))


def too_many_labels(root: Path) -> str:
    np.save(cifar(root) / "labels.npy", np.tile(np.arange(1, 11), 5))
    return f"cifar10c:{root}"


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (str, 2, "is no data set: there is no folder"),
        (one_class, 2, "1 class folder; expected a folder of pictures for each of at least two"),
        (other_classes, 2, "2 class folders and the model 10 classes"),
        (index_out_of_range, 2, "the class 10; expected 0 to 9"),
        (truncated, 1, "truncated"),
        (empty, 1, "labels.npy (0 bytes) cannot be read as an array"),
        (mixed_sizes, 1, "of pictures that differ in size"),
        (too_many_labels, 2, "labels from 1 to 10; expected 0 to 9"),
        (lambda root: f"cifar100c:{cifar(root)}", 2, "the model has 10 classes, the data set 100"),
    ],
)
@pytest.mark.usefixtures("here")
def test_data_that_cannot_be_used_ends_with_one_message(
    make: Callable[[Path], str], code: int, words: str, tmp_path: Path
) -> None:
    data = make(tmp_path / "data")
    arguments = [*TINY, "--data", data, "--source-images", "2", "--corruptions", "fog", "--methods", "t3a"]
    ended, _, said = ends(*arguments, "--out", tmp_path / "out")
    assert (ended, said.count("error: ")) == (code, 1)
    assert words in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--corruptions", "foog"], "fog"),
        (["--protocols", "continual,clips:order=sideways"], "no order 'sideways'; expected class or shuffled"),
        (["--source-images", "901"], "901 of 901 pictures were to be kept aside"),
        (["--backbone", "digits_vti"], "no backbone is called 'digits_vti'"),
        (["--labels", "absent.txt"], "absent.txt"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_does_not_fit_the_data_is_refused_before_the_first_cell(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    code, _, said = ends(*TINY, "--methods", "t3a", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert words in said
    assert not (tmp_path / "out" / "cells").exists()


@pytest.mark.usefixtures("here")
def test_a_folder_of_something_else_or_of_other_settings_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    code, _, said = ends(*TINY, "--out", tmp_path)
    assert code == 2
    assert "holds something that is no benchmark. Name another folder with --out." in said
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    out = finish(tmp_path / "out", settings_of(), lambda cell: kept([True]))
    before = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    code, _, said = ends(*TINY, "--methods", "edge", "--out", out)
    assert code == 2
    assert "was begun with other settings (" in said
    assert "source_images" in said
    assert {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()} == before
