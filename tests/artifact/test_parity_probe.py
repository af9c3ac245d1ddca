"""The stored frames and outputs that a plan is checked by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from moase_edge.artifact.parity_probe import PARITY_PROBE_FILE, load_parity_probe, save_parity_probe
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact, write_manifest
from moase_edge.errors import ArtifactError
from tests.artifact.folders import fields, make_artifact, steerable_fields


def with_probe(folder: Path, tensors: dict[str, np.ndarray] | None = None) -> Artifact:
    """A small artifact with `tensors` as its probe, or with two frames."""
    make_artifact(folder)
    (folder / MANIFEST).unlink()
    images = [np.full((1, 3, 4, 4), value, np.float32) for value in (1, 2)]
    save_parity_probe(
        images, [{"logits": np.full((1, 2), value, np.float32)} for value in (3, 4)], folder / PARITY_PROBE_FILE
    )
    if tensors is not None:
        save_file(tensors, folder / PARITY_PROBE_FILE)
    write_manifest(folder, fields())
    return load_artifact(folder)


def test_frames_come_back_one_by_one_with_their_outputs(tmp_path: Path) -> None:
    probe = load_parity_probe(with_probe(tmp_path / "a"))
    assert probe is not None
    assert [image.shape for image in probe.images] == [(1, 3, 4, 4)] * 2
    assert [float(image.max()) for image in probe.images] == [1, 2]
    np.testing.assert_array_equal(probe.outputs[1]["logits"], [[4, 4]])


def test_a_steerable_one_has_shifts_and_what_they_lead_to(tmp_path: Path) -> None:
    make_artifact(tmp_path / "a")
    (tmp_path / "a" / MANIFEST).unlink()
    images = [np.full((1, 3, 4, 4), value, np.float32) for value in (1, 2)]

    def outputs(value: float) -> dict[str, np.ndarray]:
        """Of one frame."""
        return {"logits": np.full((1, 2), value, np.float32), "token_means": np.full((1, 2, 8), value, np.float32)}

    shifts = [np.full((1, 2, 8), value, np.float32) for value in (5, 6)]
    save_parity_probe(
        images,
        [outputs(3), outputs(4)],
        tmp_path / "a" / PARITY_PROBE_FILE,
        shifts=shifts,
        steered=[outputs(7), outputs(8)],
    )
    write_manifest(tmp_path / "a", {**fields(), **steerable_fields()})
    probe = load_parity_probe(load_artifact(tmp_path / "a"))
    assert probe is not None
    np.testing.assert_array_equal(probe.shifts, shifts)
    assert [set(each) for each in (*probe.outputs, *probe.steered)] == [{"logits", "token_means"}] * 4
    assert [float(each["logits"][0, 0]) for each in (*probe.outputs, *probe.steered)] == [3, 4, 7, 8]


def test_an_artifact_without_has_none(tmp_path: Path) -> None:
    assert load_parity_probe(load_artifact(make_artifact(tmp_path / "a"))) is None


@pytest.mark.parametrize(
    "tensors",
    [
        {"images": np.zeros((2, 3, 4, 4), np.float32)},
        {"images": np.zeros((2, 3, 4, 4), np.float32), "logits": np.zeros((1, 2), np.float32)},
    ],
)
def test_frames_that_do_not_fit_are_refused(tensors: dict[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected images, logits, one a frame"):
        load_parity_probe(with_probe(tmp_path / "a", tensors))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    artifact = with_probe(tmp_path / "a")
    artifact.path(PARITY_PROBE_FILE).write_bytes(b"\xff" * 40)
    with pytest.raises(ArtifactError, match="holds no frames to check an engine by"):
        load_parity_probe(artifact)
