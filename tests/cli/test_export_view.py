"""What `export` says at its end of things that no check can find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moase_edge.artifact.store import load_artifact
from moase_edge.cli.export_view import ExportView
from tests.artifact.folders import make_artifact


def summary(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    weights: str = "random",
    classes: int = 2,
    named: bool = True,
) -> str:
    """The summary of a small artifact that is changed in these respects."""
    artifact = load_artifact(make_artifact(folder / "tiny"))
    manifest = artifact.manifest
    changed = manifest.model_copy(
        update={
            "provenance": manifest.provenance.model_copy(update={"weights": weights}),
            "sidecar": manifest.sidecar.model_copy(update={"classes": classes}),
            "labels": manifest.labels if named else None,
        }
    )
    ExportView().show(replace(artifact, manifest=changed))
    return capsys.readouterr().out


def test_the_normalisation_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = summary(tmp_path, capsys)
    assert "  preprocess: 4x4, center crop 1, bicubic, mean 0.5 0.5 0.5, std 0.5 0.5 0.5\n" in shown
    assert "the name tiny" not in shown
    assert "without names" not in shown


def test_a_checkpoint_gets_the_preprocessing_of_the_name_and_the_summary_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = summary(tmp_path, capsys, weights="checkpoint")
    lines = shown.splitlines()
    row = next(row for row, line in enumerate(lines) if line.startswith("  preprocess: "))
    assert "that of the name tiny: the checkpoint does not say with which it was trained" in lines[row + 1]


def test_what_comes_next_is_recording_statistics_where_there_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next_line, then = summary(tmp_path / "one", capsys).splitlines()[-2:]
    assert next_line.startswith("  next: moase-edge calibrate --artifact ")
    assert then.startswith("  then: moase-edge run --artifact ")
    assert summary(tmp_path / "none", capsys, classes=0).splitlines()[-1].startswith("  next: moase-edge run ")


@pytest.mark.parametrize(
    ("classes", "hint"),
    [
        (3, "  3 classes without names: --labels FILE gives them\n"),
        (1000, "  1000 classes without names: --labels imagenet, or --labels FILE, gives them\n"),
    ],
)
def test_classes_without_names_are_told_with_the_option_that_names_them(
    classes: int, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hint in summary(tmp_path, capsys, classes=classes, named=False)


def test_features_need_no_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "without names" not in summary(tmp_path, capsys, classes=0, named=False)
