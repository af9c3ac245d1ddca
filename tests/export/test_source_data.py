"""Source statistics at export, and a script that makes them again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moase_edge.artifact.source_statistics import SOURCE_STATISTICS_FILE, load_source_statistics
from moase_edge.artifact.store import load_artifact
from moase_edge.errors import CalibrationError, ConfigError, MoaseEdgeError, SourceError
from moase_edge.export.bundle import ExportRequest, export_artifact
from tests.cli.commands import write_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("private") / "photos", 3)


@pytest.fixture(scope="module")
def exported(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts") / "digits"
    request = ExportRequest("digits_vit", source_data=str(pictures), steer=False)
    return export_artifact(request, folder).folder


def test_statistics_of_the_pictures_are_in_the_artifact(exported: Path, digits_artifact: Path) -> None:
    artifact = load_artifact(exported)
    entry, statistics = artifact.manifest.statistics_at("fp32"), load_source_statistics(artifact)
    assert entry is not None
    assert statistics is not None
    assert (entry.data, entry.count, entry.command) == ("photos", 3, "export")
    assert entry.engine.startswith("ONNX Runtime")
    assert statistics.mid.mean.shape == statistics.features.std.shape == (64,)
    assert artifact.manifest.identity == load_artifact(digits_artifact).manifest.identity


def test_no_file_names_the_place_of_the_pictures(exported: Path, pictures: Path) -> None:
    for path in exported.iterdir():
        assert str(pictures.parent).encode() not in path.read_bytes(), path.name


def test_the_script_asks_for_the_pictures_and_makes_the_same_statistics(
    exported: Path, pictures: Path, tmp_path: Path
) -> None:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": paths, "OUT": str(tmp_path / "again")}
    script = ["sh", str(exported / "reproduce.sh")]
    asked = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    assert "set SOURCE_DATA to the source images: photos, of which 3 count" in asked.stderr
    subprocess.run(script, env={**environment, "SOURCE_DATA": str(pictures)}, check=True, capture_output=True)
    again, first = (load_artifact(folder).manifest.files for folder in (tmp_path / "again", exported))
    assert again[SOURCE_STATISTICS_FILE] == first[SOURCE_STATISTICS_FILE]


@pytest.mark.parametrize(("count", "error"), [(None, SourceError), (0, ConfigError), (1, CalibrationError)])
def test_pictures_that_cannot_do_are_refused_before_anything_is_built(
    count: int | None, error: type[MoaseEdgeError], tmp_path: Path
) -> None:
    stages: list[str] = []
    if count is not None:
        write_pictures(tmp_path / "photos", count)
    request = ExportRequest("digits_vit", source_data=str(tmp_path / "photos"))
    with pytest.raises(error):
        export_artifact(request, tmp_path / "out", on_stage=stages.append)
    assert stages == []
    assert not (tmp_path / "out").exists()


def test_an_empty_name_of_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot open the source"):
        export_artifact(ExportRequest("digits_vit", source_data=""), tmp_path / "out")
