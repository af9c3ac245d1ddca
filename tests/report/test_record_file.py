from __future__ import annotations

import errno
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moase_edge.errors import StorageError
from moase_edge.metrics.cell import CellRecord
from moase_edge.report.record_file import load_record, save_record
from tests.metrics.cells import cell

RECORD = cell([True, False, True, True])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """`RECORD` as a file."""
    path = tmp_path_factory.mktemp("record") / "cell.npz"
    save_record(path, RECORD)
    return path.read_bytes()


def same(first: CellRecord, second: CellRecord) -> bool:
    arrays, others = first.arrays(), second.arrays()
    equal = [arrays[name].dtype == others[name].dtype for name in arrays]
    equal += [arrays[name].tobytes() == others[name].tobytes() for name in arrays]
    return arrays.keys() == others.keys() and first.domains == second.domains and all(equal)


@pytest.mark.parametrize("frozen", [None, np.array([0, 1, -1, 3])])
def test_a_record_comes_back_equal_to_the_bit(tmp_path: Path, frozen: np.ndarray | None) -> None:
    confidence = np.array([0.1, math.nan, 1.0, 0.0], dtype=np.float32)
    record = cell([True] * 4, frozen_prediction=frozen, confidence=confidence)
    save_record(tmp_path / "new" / "cell.npz", record)
    loaded = load_record(tmp_path / "new" / "cell.npz")
    assert same(loaded, record)
    assert (loaded.frozen_prediction is None) == (frozen is None)


@given(names=st.lists(st.text(), min_size=2, max_size=5, unique=True).map(tuple))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
def test_any_domain_names_come_back(tmp_path: Path, names: tuple[str, ...]) -> None:
    save_record(tmp_path / "cell.npz", cell([True] * 4, domains=names))
    assert load_record(tmp_path / "cell.npz").domains == names


def test_the_same_record_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_record(tmp_path / name, RECORD)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_that_ends_anywhere_is_refused_with_what_to_do(tmp_path: Path, saved: bytes) -> None:
    path = tmp_path / "cell.npz"
    for size in [0, 1, *range(2, len(saved), 97), len(saved) - 1]:
        path.write_bytes(saved[:size])
        with pytest.raises(StorageError, match=rf"cell\.npz \({size} bytes\).*delete it"):
            load_record(path)


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_a_changed_byte_is_noticed_or_changes_nothing(
    tmp_path: Path, saved: bytes, place: float, value: int
) -> None:
    path = tmp_path / "cell.npz"
    data = bytearray(saved)
    data[int(place * len(data))] = value
    path.write_bytes(data)
    try:
        assert same(load_record(path), RECORD)
    except StorageError as error:
        assert "delete it" in str(error)  # noqa: PT017 - either outcome is right


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", prediction=np.zeros(3))
    more: dict[str, Any] = {**RECORD.arrays(), "domains": '["fog", "snow"]', "surprise": np.zeros(3)}
    np.savez(tmp_path / "more.npz", **more)
    np.savez(tmp_path / "pickle.npz", domains=np.array([object()], dtype=object))
    (tmp_path / "text.npz").write_text("not a record")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("notes.txt", "not a record")
    for path in tmp_path.iterdir():
        with pytest.raises(StorageError, match=r"is not a whole record of a cell"):
            load_record(path)


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {**RECORD.arrays(), "label": np.full(4, -5), "domains": np.array('["fog", "snow"]')}
    np.savez(tmp_path / "cell.npz", **arrays)
    with pytest.raises(StorageError, match="label of a cell falls to -5"):
        load_record(tmp_path / "cell.npz")


def test_a_missing_file_and_a_full_disk_are_storage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=r"could not read .*absent\.npz"):
        load_record(tmp_path / "absent.npz")
    save_record(tmp_path / "cell.npz", RECORD)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="free some space"):
        save_record(tmp_path / "cell.npz", cell([False] * 4))
    assert same(load_record(tmp_path / "cell.npz"), RECORD)
