"""A snapshot as bytes: everything comes back bit for bit, and nothing damaged is taken."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from moase_edge.adapt.adaptation import Adaptation
from moase_edge.adapt.packing import Packer, unpack
from moase_edge.adapt.state_file import (
    STATE_SCHEMA,
    Binding,
    SnapshotHeader,
    differences,
    encode_snapshot,
    read_header,
    read_snapshot,
)
from moase_edge.adapt.tracker import Tracker
from moase_edge.errors import AdaptationError, ArtifactError
from tests.adapt.adaptations import follow, held, tracker_of
from tests.adapt.learners import BUSY, small_learner

BINDING = Binding(identity="a" * 64, precision="fp32", statistics=None, settings={"lr": 0.1, "track": {"near": 1}})


def header(**changes: Any) -> SnapshotHeader:
    values = {
        "schema_version": STATE_SCHEMA,
        "created_at": datetime(2026, 1, 1, tzinfo=timezone.utc),
        "artifact": "digits",
        "binding": BINDING,
        "frames": 7,
    }
    return SnapshotHeader(**{**values, **changes})


def learning() -> Adaptation:
    """A learner with every part that has a state: reservoir, tracker, guard, drift."""
    learner = small_learner(**BUSY)
    tracker: Tracker = tracker_of(learner.teacher)
    return Adaptation(learner, tracker=tracker, on_shift=False)


def written(folder: Path, state: object) -> Path:
    path = folder / "one.safetensors"
    path.write_bytes(encode_snapshot(header(), state))
    return path


def bytes_of(state: object) -> bytes:
    return encode_snapshot(header(), state)


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | hnp.arrays(st.sampled_from([np.float64, np.float32, np.int64, np.bool_]), hnp.array_shapes(max_side=3))
)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return bool(first.dtype == second.dtype and first.tobytes() == second.tobytes())
    if isinstance(first, (list, tuple)):
        return type(first) is type(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return list(first) == list(second) and all(map(same, first.values(), second.values()))
    return bool(first == second and type(first) is type(second))


nested = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.integers(0, 9), inner), max_leaves=8
)


@given(nested)
@settings(max_examples=50, deadline=None)
def test_whatever_is_packed_comes_back(value: Any) -> None:
    packer = Packer()
    plain = json.loads(json.dumps(packer.pack((value, value))))
    assert same(unpack(plain, packer.arrays), (value, value))


def test_numbers_that_are_not_finite_come_back() -> None:
    packer = Packer()
    plain = json.loads(json.dumps(packer.pack([float("inf"), -float("inf")]), allow_nan=False))
    assert unpack(plain, {}) == [float("inf"), -float("inf")]


def test_an_array_in_two_places_is_stored_once() -> None:
    packer, array = Packer(), np.ones(3)
    packer.pack([array, {"again": array}])
    assert len(packer.arrays) == 1


def test_what_no_snapshot_can_keep_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Generator"):
        Packer().pack([torch.Generator()])


@pytest.mark.parametrize("make", [learning, held], ids=["learner", "held"])
def test_a_new_adaptation_goes_on_from_a_file_as_the_first_does(make: Any, tmp_path: Path) -> None:
    first, second = make(), make()
    follow(first, 6)
    second.load(read_snapshot(written(tmp_path, first.state())).state())
    assert bytes_of(second.state()) == bytes_of(first.state())
    assert follow(second, 6, first=6) == follow(first, 6, first=6)
    assert bytes_of(second.state()) == bytes_of(first.state())


def test_later_steps_do_not_reach_a_state() -> None:
    adaptation = learning()
    follow(adaptation, 3)
    state = adaptation.state()
    taken = bytes_of(state)
    follow(adaptation, 3, first=3)
    assert bytes_of(state) == taken


def test_reset_equals_a_new_adaptation() -> None:
    adaptation = learning()
    fresh = bytes_of(adaptation.state())
    follow(adaptation, 5)
    assert bytes_of(adaptation.state()) != fresh
    adaptation.reset()
    assert bytes_of(adaptation.state()) == fresh


def test_a_state_of_other_parts_is_refused() -> None:
    with pytest.raises(AdaptationError, match="other parts"):
        held().load(learning().state())


def test_a_state_of_other_shapes_leaves_the_source_state() -> None:
    adaptation, other = learning(), Adaptation(small_learner(2, **BUSY), tracker=None)
    adaptation.tracker = None
    follow(other, 2)
    with pytest.raises(AdaptationError, match="does not fit"):
        adaptation.load(other.state())
    adaptation.reset()


def test_the_header_is_read_without_the_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, held().state())
    assert read_header(path) == header() == read_snapshot(path).header


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(keep: float, tmp_path: Path) -> None:
    path = written(tmp_path, learning().state())
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    for read in (read_header, read_snapshot):
        with pytest.raises(ArtifactError, match="no snapshot that can be used"):
            read(path)


@pytest.mark.parametrize("place", [3, 30, 200, -5, -400])
def test_a_single_changed_byte_is_noticed(place: int, tmp_path: Path) -> None:
    adaptation = learning()
    follow(adaptation, 2)
    path = written(tmp_path, adaptation.state())
    data = bytearray(path.read_bytes())
    data[place] ^= 0x15
    path.write_bytes(data)
    with pytest.raises(ArtifactError):
        read_snapshot(path).state()


def test_a_newer_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "new"
    path.write_bytes(encode_snapshot(header(schema_version=STATE_SCHEMA + 1), held().state()))
    with pytest.raises(ArtifactError, match="Update moase-edge"):
        read_header(path)


def test_differences_name_every_setting_that_changed_with_both_values() -> None:
    other = BINDING.model_copy(update={"settings": {"lr": 0.2, "track": {"near": 1, "far": 2}}, "statistics": "b"})
    assert differences(BINDING, BINDING) == []
    told = differences(BINDING, other)
    assert told[1:] == ["lr: 0.1, not 0.2", "track.far: None, not 2"]
    assert told[0].startswith("source statistics")


@pytest.mark.parametrize(
    "entry",
    [{}, {"data_offsets": []}, {"data_offsets": [0]}, {"data_offsets": None}, {"data_offsets": [0, "x"]}, 3],
)
def test_a_header_that_does_not_say_where_its_numbers_are_is_damaged(entry: Any, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    text = json.dumps({"weights": entry}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ArtifactError, match="no snapshot that can be used"):
        read_header(path)


def test_a_header_whose_seal_is_no_text_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    text = json.dumps({"__metadata__": {"moase_edge_state": 3}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ArtifactError, match="another kind of file"):
        read_header(path)
