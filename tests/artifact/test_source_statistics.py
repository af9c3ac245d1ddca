from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save

from moase_edge.artifact.manifest import SourceStatisticsEntry
from moase_edge.artifact.source_statistics import (
    SOURCE_STATISTICS_FILE,
    Moments,
    SourceStatistics,
    load_source_statistics,
    save_source_statistics,
)
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact, read_manifest, write_manifest
from moase_edge.errors import ArtifactError
from tests.artifact.folders import FILES, edit_manifest, fields, make_artifact, steerable_fields
from tests.blocked import run_blocked

ENTRY = {
    "file": SOURCE_STATISTICS_FILE,
    "data": "photos",
    "count": 3,
    "precision": "fp32",
    "engine": "made",
    "command": "export",
}
CHANNELS = 8


def moments(start: float) -> Moments:
    return Moments(np.arange(CHANNELS) + float(start), np.full(CHANNELS, float(start)))


STATISTICS = SourceStatistics(mid=moments(1 / 3), out=moments(0.25), features=moments(0), count=3)


BY_BLOCK = replace(STATISTICS, token_means=Moments(np.arange(16.0).reshape(2, 8) / 3, np.full((2, 8), 0.5)))


def artifact_with(
    folder: Path, content: bytes | None = None, *, statistics: SourceStatistics = STATISTICS, **changes: Any
) -> Artifact:
    """An artifact with these statistics, or with `content` in place of their file."""
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    save_source_statistics(statistics, folder / SOURCE_STATISTICS_FILE)
    if content is not None:
        (folder / SOURCE_STATISTICS_FILE).write_bytes(content)
    write_manifest(folder, fields(source_statistics=(ENTRY,), **changes))
    return load_artifact(folder)


def tensors(**changes: Any) -> dict[str, Any]:
    """Zeros under every name; `changes` name tensors with _ for the dot, None takes one away."""
    names = [f"{name}.{kind}" for name in ("features", "mid", "out") for kind in ("mean", "std")]
    plain = {name: np.zeros(CHANNELS) for name in names}
    plain.update({name.replace("_", "."): value for name, value in changes.items()})
    return {name: value for name, value in plain.items() if value is not None}


def by_block(**changes: Any) -> bytes:
    """A file of zeros with token means of 2 blocks; `changes` as `tensors` takes them."""
    means = {f"token_means.{kind}": np.zeros((2, CHANNELS)) for kind in ("mean", "std")}
    given = {f"{name.rpartition('_')[0]}.{name.rpartition('_')[2]}": value for name, value in changes.items()}
    return save({**tensors(), **means, **given}, metadata={"count": "3"})


def test_what_is_read_equals_what_was_written_to_the_last_bit(tmp_path: Path) -> None:
    read = load_source_statistics(artifact_with(tmp_path / "a"))
    assert read is not None
    assert read.count == 3
    for name in ("mid", "out", "features"):
        found, expected = getattr(read, name), getattr(STATISTICS, name)
        assert (found.mean == expected.mean).all()
        assert (found.std == expected.std).all()


def test_token_means_of_an_engine_that_can_be_steered_are_read_as_written(tmp_path: Path) -> None:
    read = load_source_statistics(artifact_with(tmp_path / "a", statistics=BY_BLOCK, **steerable_fields()))
    assert read is not None
    assert read.token_means is not None
    assert BY_BLOCK.token_means is not None
    assert (read.token_means.mean == BY_BLOCK.token_means.mean).all()
    assert (read.token_means.std == BY_BLOCK.token_means.std).all()
    assert (read.mid.mean == STATISTICS.mid.mean).all()


def test_statistics_without_token_means_are_those_that_were_written_before_there_were_any(tmp_path: Path) -> None:
    read = load_source_statistics(artifact_with(tmp_path / "a"))
    assert read is not None
    assert read.token_means is None
    assert read.moments().keys() == {"mid", "out", "features"}
    assert BY_BLOCK.moments().keys() == {"mid", "out", "features", "token_means"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (save(tensors(), metadata={"count": "3"}), "expected .*token_means.std"),
        (by_block(token_means_mean=np.zeros((8, 2))), r"token_means.mean .* not 2 x 8 .* shape \(8, 2\)"),
        (by_block(token_means_mean=np.zeros(8)), r"token_means.mean .*\(8,\)"),
        (by_block(token_means_mean=np.full((2, 8), np.inf)), "token_means.mean"),
        (by_block(token_means_std=np.full((2, 8), -1.0)), "token_means.std"),
        (by_block(mid_mean=np.zeros((2, 8))), r"mid.mean .* not 8 .* shape \(2, 8\)"),
    ],
)
def test_token_means_of_another_form_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    artifact = artifact_with(tmp_path / "a", content, **steerable_fields())
    with pytest.raises(ArtifactError, match=words):
        load_source_statistics(artifact)


def test_token_means_of_an_engine_that_gives_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds .*token_means.mean.*; expected features.mean"):
        load_source_statistics(artifact_with(tmp_path / "a", statistics=BY_BLOCK))


def test_the_same_statistics_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_source_statistics(STATISTICS, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_artifact_without_statistics_has_none(tmp_path: Path) -> None:
    assert load_source_statistics(load_artifact(make_artifact(tmp_path / "a"))) is None


def test_an_artifact_from_before_there_were_statistics_loads(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "a")
    edit_manifest(folder, lambda plain: plain.pop("source_statistics"))
    assert "source_statistics" not in json.loads((folder / MANIFEST).read_text())
    assert load_source_statistics(load_artifact(folder)) is None


@pytest.mark.parametrize("entry", [None, ENTRY])
def test_a_manifest_of_schema_1_with_one_entry_or_none_is_read(tmp_path: Path, entry: Any) -> None:
    folder = artifact_with(tmp_path / "a").folder
    edit_manifest(folder, lambda plain: plain.update(schema_version=1, source_statistics=entry))
    assert read_manifest(folder).source_statistics == (() if entry is None else (SourceStatisticsEntry(**ENTRY),))


def test_statistics_are_found_by_the_precision_they_were_taken_at(tmp_path: Path) -> None:
    half = {**ENTRY, "precision": "fp16"}
    (tmp_path / "backbone.onnx").write_bytes(b"")
    (tmp_path / SOURCE_STATISTICS_FILE).write_bytes(b"")
    manifest = write_manifest(tmp_path, fields(source_statistics=(ENTRY, half)))
    assert manifest.statistics_at("fp16") == SourceStatisticsEntry(**half)
    assert manifest.statistics_at("int8") is None
    with pytest.raises(ValidationError, match="of one precision are given twice"):
        write_manifest(tmp_path, fields(source_statistics=(ENTRY, ENTRY)))


def test_a_changed_or_missing_file_is_refused_by_its_hash(tmp_path: Path) -> None:
    path = artifact_with(tmp_path / "a").folder / SOURCE_STATISTICS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{SOURCE_STATISTICS_FILE} has changed"):
        load_artifact(path.parent)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{SOURCE_STATISTICS_FILE} is missing"):
        load_artifact(path.parent)
    with pytest.raises(ArtifactError, match="holds no source statistics"):
        load_source_statistics(load_artifact(path.parent, verify=False))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no source statistics"),
        (b"\x08" * 40, "holds no source statistics"),
        (save(tensors(), metadata={"count": "4"}), "of 4 images; expected .* of 3"),
        (save(tensors()), "of None images"),
        (save(tensors(mid_std=None), metadata={"count": "3"}), "expected .*mid.std"),
        (save(tensors(out_mean=np.zeros(7)), metadata={"count": "3"}), r"out.mean .*\(7,\)"),
        (save(tensors(out_mean=np.zeros(8, np.float32)), metadata={"count": "3"}), "out.mean .*float32"),
        (save(tensors(mid_mean=np.full(8, np.nan)), metadata={"count": "3"}), "mid.mean"),
        (save(tensors(mid_std=np.full(8, -1.0)), metadata={"count": "3"}), "mid.std"),
    ],
)
def test_a_file_with_a_fitting_hash_that_holds_something_else_is_refused(
    content: bytes, words: str, tmp_path: Path
) -> None:
    artifact = artifact_with(tmp_path / "a", content)
    with pytest.raises(ArtifactError, match=words):
        load_source_statistics(artifact)


def test_statistics_without_a_hash_are_refused(tmp_path: Path) -> None:
    (tmp_path / "backbone.onnx").write_bytes(b"")
    with pytest.raises(ValidationError, match=f"no hash is given of {SOURCE_STATISTICS_FILE}"):
        write_manifest(tmp_path, fields(source_statistics=(ENTRY,)))


@pytest.mark.parametrize(
    "change", [{"data": "/home/photos"}, {"data": "a/b"}, {"data": ""}, {"data": "a\n"}, {"count": 1}]
)
def test_a_path_or_a_count_without_a_spread_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SourceStatisticsEntry(**{**ENTRY, **change})


def test_reading_needs_no_pytorch(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from moase_edge.artifact.source_statistics import load_source_statistics
    from moase_edge.artifact.store import load_artifact
    print(load_source_statistics(load_artifact(Path(sys.argv[1]))).count)
    """
    folder = artifact_with(tmp_path / "a").folder
    assert run_blocked(code, ["torch", "onnxruntime", "cv2", "PIL"], [folder]) == "3\n"
