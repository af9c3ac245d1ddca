"""Fixtures that several folders share. What costs seconds is made once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from moase_edge.engines.tensorrt.flavour import Flavour


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The README's commands take longest: started last, they would leave every other process waiting."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """For tensors of a test's size a second thread costs more than it saves, above all on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Plans that tests build are kept for the session, and never in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOASE_EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def rtx() -> Flavour:
    """TensorRT-RTX, which builds plans without a GPU; skips where it is not installed."""
    from moase_edge.engines.tensorrt.flavour import find_flavour
    from moase_edge.errors import EngineError

    try:
        return find_flavour("tensorrt-rtx")
    except EngineError as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def digits_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an artifact of `digits_vit`, exported once, one block adapted, the `edge` preset, no steering.

    Shared by all tests of a session: never write into it; copy it with `shutil.copytree`.
    """
    from moase_edge.export.bundle import ExportRequest, export_artifact

    folder = tmp_path_factory.mktemp("artifacts") / "digits_vit"
    return export_artifact(ExportRequest("digits_vit", steer=False), folder).folder


@pytest.fixture(scope="session")
def source_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 training digits: what `digits_vit` knows as its source."""
    import cv2

    from moase_edge.data.digits import load_digits_split

    folder = tmp_path_factory.mktemp("source")
    for index, image in enumerate(load_digits_split("train").images[:60]):
        cv2.imwrite(str(folder / f"{index:02}.png"), image)
    return folder


@pytest.fixture(scope="session")
def tracked_artifact(digits_artifact: Path, source_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`digits_artifact` with source statistics, which `run` adapts by. Never write into it."""
    from moase_edge.artifact.store import load_artifact
    from moase_edge.calib.on_site import calibrate_source
    from moase_edge.calib.source_data import open_source_data

    artifact = Path(shutil.copytree(digits_artifact, tmp_path_factory.mktemp("tracked") / "digits_vit"))
    with open_source_data(str(source_digits)) as source:
        return calibrate_source(load_artifact(artifact), source).folder


@pytest.fixture(scope="session")
def steerable_artifact(source_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`digits_vit` with source statistics and an engine that can be steered. Never write into it."""
    from moase_edge.export.bundle import ExportRequest, export_artifact

    folder = tmp_path_factory.mktemp("steerable") / "digits_vit"
    return export_artifact(ExportRequest("digits_vit", source_data=str(source_digits), steer=True), folder).folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real photographs, videos and weights that MOASE_EDGE_DATA names; skips where it is unset."""
    named = os.environ.get("MOASE_EDGE_DATA")
    if not named:
        pytest.skip("MOASE_EDGE_DATA is not set: it names the folder of real photographs and weights")
    return Path(named)
