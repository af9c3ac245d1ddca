"""The demo, as short as it goes: what it writes, that it repeats, what it leaves alone."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moase_edge.artifact.store import Artifact, load_artifact
from moase_edge.bench import demo
from moase_edge.bench.demo import CORRUPTED, DemoOutcome, run_demo
from moase_edge.cli import main
from moase_edge.errors import ConfigError
from moase_edge.runtime import run_report

DOMAINS = ["clean", *CORRUPTED]
FRAMES = 10


def quiet(stage: str) -> None:
    """Nobody is told of the stages."""


@pytest.fixture(scope="module")
def exported(tracked_artifact: Path) -> Iterator[None]:
    """The demo's export is done once a session; here it copies that artifact."""

    def copy(request: Any, out: Path, *, on_stage: Callable[[str], None]) -> Artifact:
        assert request.backbone == "digits_vit"
        assert len(list(Path(request.source_data).glob("*.png"))) == demo.SOURCE_PICTURES
        on_stage("copying")
        return load_artifact(Path(shutil.copytree(tracked_artifact, out)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "export_artifact", copy)
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, exported: None) -> tuple[Path, DemoOutcome, list[str]]:
    """Folder, outcome and stages of one demo."""
    out, stages = tmp_path_factory.mktemp("demo") / "out", list[str]()
    return out, run_demo(out, frames_per_domain=FRAMES, seed=1, force=False, on_stage=stages.append), stages


def test_the_demo_writes_figures_page_and_both_reports(first: tuple[Path, DemoOutcome, list[str]]) -> None:
    out, outcome, stages = first
    figures = json.loads((out / "demo.json").read_text())
    assert figures["complete"] is True
    assert figures["seed"] == 1
    assert figures["machine"]["cores"] >= 1
    assert outcome.page == out / "report.html"
    page = outcome.page.read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "without its label" in page
    for name in ("frozen", "adapting"):
        assert figures[name]["counts"]["frames"] == FRAMES * len(DOMAINS)
        assert (out / name / "report.html").exists()
        assert json.loads((out / name / "summary.json").read_text())["seed"] == 1
        assert len((out / name / "frames.jsonl").read_text().splitlines()) == FRAMES * len(DOMAINS)
    assert figures["frozen"]["counts"]["updates"] == 0
    # One for each picture with new content.
    assert 0 < outcome.updates == figures["adapting"]["counts"]["updates"] <= FRAMES * len(DOMAINS)
    assert stages[0] == "export: copying"
    assert stages[-1] == "writing the report"
    assert len(stages) == 4


def test_the_tables_hold_every_domain_and_their_difference(first: tuple[Path, DemoOutcome, list[str]]) -> None:
    out, outcome, _ = first
    rows = {row[0]: row[1:] for row in outcome.errors.rows}
    assert list(rows) == [*DOMAINS, "mean"]
    figures = json.loads((out / "demo.json").read_text())
    for domain in DOMAINS:
        frozen, adapting, difference = (float(str(cell)) for cell in rows[domain])
        assert frozen == figures["frozen"]["error_percent"]["answered"]["by_domain"][domain]
        assert adapting == figures["adapting"]["error_percent"]["answered"]["by_domain"][domain]
        assert difference == pytest.approx(adapting - frozen)
        assert 0 <= frozen <= 100
    assert float(str(rows["clean"][0])) <= 20
    assert float(str(rows["mean"][0])) == pytest.approx(
        sum(float(str(rows[d][0])) for d in DOMAINS) / len(DOMAINS)
    )
    latency = {row[0]: row[1:] for row in outcome.latency.rows}
    assert list(latency) == ["capture", "preprocess", "engine", "sidecar", "update", "total"]
    assert [math.isnan(float(str(cell))) for cell in latency["update"]] == [True, True, False, False]
    assert all(float(str(cell)) > 0 for cell in latency["total"])


def test_the_frozen_column_of_the_adapting_run_is_the_frozen_run(
    first: tuple[Path, DemoOutcome, list[str]],
) -> None:
    figures = json.loads((first[0] / "demo.json").read_text())
    adapting = figures["adapting"]["error_percent"]["frozen"]["by_domain"]
    assert adapting == figures["frozen"]["error_percent"]["answered"]["by_domain"]


@pytest.mark.usefixtures("exported")
def test_a_seed_repeats_and_another_seed_does_not(
    first: tuple[Path, DemoOutcome, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (demo, run_report):  # pictures take longer than the runs
        monkeypatch.setattr(module, "plots_missing", lambda: "no plots")
    tables = [
        run_demo(tmp_path / str(seed), frames_per_domain=FRAMES, seed=seed, force=False, on_stage=quiet).errors
        for seed in (1, 2)
    ]
    assert tables[0] == first[1].errors
    assert tables[1] != first[1].errors
    assert "no plots" in (tmp_path / "1" / "report.html").read_text()


@pytest.mark.usefixtures("exported")
def test_a_demo_that_exists_needs_force(
    first: tuple[Path, DemoOutcome, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = first[0]
    before = (out / "demo.json").read_bytes()
    with pytest.raises(ConfigError, match="--force"):
        run_demo(out, frames_per_domain=FRAMES, seed=1, force=False, on_stage=quiet)
    assert (out / "demo.json").read_bytes() == before
    assert load_artifact(out / "artifact").manifest.name == "digits_vit"


@pytest.mark.parametrize("force", [False, True])
def test_a_foreign_folder_is_refused_and_left_alone(force: bool, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError):
        run_demo(tmp_path, frames_per_domain=FRAMES, seed=0, force=force, on_stage=quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_demo_that_was_interrupted_is_replaced_with_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "export_artifact", interrupt)
    for force in (False, True):
        with pytest.raises(KeyboardInterrupt):
            run_demo(tmp_path / "out", frames_per_domain=FRAMES, seed=0, force=force, on_stage=quiet)
        assert json.loads((tmp_path / "out" / "demo.json").read_text()) == {"complete": False}


@pytest.mark.usefixtures("exported")
def test_the_command_shows_both_tables_and_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (demo, run_report):
        monkeypatch.setattr(module, "plots_missing", lambda: "no plots")
    out = tmp_path / "[i]out"
    with pytest.raises(SystemExit) as end:
        main(["demo", "--out", str(out), "--frames", str(FRAMES)])
    assert end.value.code == 0
    shown = capsys.readouterr()
    assert "Error by domain (%)" in shown.out
    assert "Latency per frame (ms)" in shown.out
    assert re.search(r"[1-9][0-9]* updates without a label", shown.out)
    assert f"report: {out / 'report.html'}" in shown.out
    assert f"streaming {FRAMES} frames of {len(DOMAINS)} domains, adapting" in shown.err
    assert shown.err.rstrip().endswith("end")


def test_a_command_that_fails_does_not_say_that_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(SystemExit) as end:
        main(["demo", "--out", str(tmp_path)])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert " s  end" not in said
