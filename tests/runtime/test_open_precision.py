"""An engine of another precision is corrected by statistics of its own, or by none."""

from __future__ import annotations

import logging
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from moase_edge.artifact.source_statistics import load_source_statistics
from moase_edge.artifact.store import MANIFEST, load_artifact, write_manifest
from moase_edge.calib.on_site import calibrate_source
from moase_edge.calib.source_data import open_source_data
from moase_edge.errors import EngineError
from moase_edge.runtime.pipeline import Pipeline
from tests.artifact.halves import add_halves


@pytest.fixture
def fp16_artifact(tracked_artifact: Path, tmp_path: Path) -> Path:
    """`tracked_artifact` with statistics at fp32, whose only engine says that it computes in fp16."""
    folder = Path(shutil.copytree(tracked_artifact, tmp_path / "half"))
    fields = load_artifact(folder).manifest.model_dump()
    (folder / MANIFEST).unlink()
    write_manifest(folder, {**fields, "engines": ({**fields["engines"][0], "precision": "fp16"},)})
    return folder


def test_statistics_of_another_precision_are_not_used_and_the_run_says_so(
    fp16_artifact: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), closing(Pipeline.open(fp16_artifact)):
        pass
    assert "holds no source statistics at fp16, the precision of the engine that runs" in caplog.text


def test_calibrate_records_them_beside_those_of_fp32(
    fp16_artifact: Path, source_digits: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_source_data(str(source_digits)) as source:
        written = calibrate_source(load_artifact(fp16_artifact), source)
    entries = written.manifest.source_statistics
    assert {(entry.precision, entry.file) for entry in entries} == {
        ("fp32", "source_stats.safetensors"),
        ("fp16", "source_stats.fp16.safetensors"),
    }
    assert load_source_statistics(written, "fp16") is not None
    with caplog.at_level(logging.WARNING), closing(Pipeline.open(fp16_artifact)):
        pass
    assert "no source statistics" not in caplog.text


def test_the_engine_of_a_precision_that_is_named_is_run_wherever_it_stands(
    tracked_artifact: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tracked_artifact, tmp_path / "both"))
    add_halves(folder)
    with closing(Pipeline.open(folder)) as default, closing(Pipeline.open(folder, precision="fp16")) as half:
        assert (default.facts["precision"], half.facts["precision"]) == ("fp32", "fp16")


def test_a_precision_that_the_artifact_lacks_is_refused_with_what_makes_one(tracked_artifact: Path) -> None:
    told = r"holds no engine at int8, only at fp32\. Make one: .*--rebuild .* --precision int8`, with --calib-data"
    with pytest.raises(EngineError, match=told):
        Pipeline.open(tracked_artifact, precision="int8")


def test_a_named_precision_leaves_an_open_decision_open(
    tracked_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tracked_artifact, tmp_path / "open"))
    fields = load_artifact(folder).manifest.model_dump()
    (folder / MANIFEST).unlink()
    write_manifest(folder, {**fields, "undecided": True})
    monkeypatch.setattr("moase_edge.engines.timing.measure", None)
    Pipeline.open(folder, precision="fp32").close()
    assert load_artifact(folder).manifest.undecided
