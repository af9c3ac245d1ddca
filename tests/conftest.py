"""Fixtures that several folders share. What costs seconds is made once a session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """For tensors of a test's size a second thread costs more than it saves, above all on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an artifact of `digits_vit`, exported once, one block adapted, the `edge` preset.

    Shared by all tests of a session: never write into it; copy it with `shutil.copytree`.
    """
    from moase_edge.export.bundle import ExportRequest, export_artifact

    folder = tmp_path_factory.mktemp("artifacts") / "digits_vit"
    return export_artifact(ExportRequest("digits_vit"), folder).folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real photographs, videos and weights that MOASE_EDGE_DATA names; skips where it is unset."""
    named = os.environ.get("MOASE_EDGE_DATA")
    if not named:
        pytest.skip("MOASE_EDGE_DATA is not set: it names the folder of real photographs and weights")
    return Path(named)
