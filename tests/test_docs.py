"""What the documents say of settings and reports is what there is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import get_args

import pytest

from moase_edge.bench.protocol_choice import LATENCY_AWARE, choosable_options
from moase_edge.cli import main
from moase_edge.cli.run import StateArguments
from moase_edge.cli.run_state import open_snapshots
from moase_edge.config import adapt
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.base import Settings, load_settings
from moase_edge.config.names import EngineName, PlanEngine
from moase_edge.config.plan import PlanSettings
from moase_edge.config.state import SnapshotSettings
from moase_edge.config.track import TrackSettings
from moase_edge.data.protocols import PROTOCOLS
from moase_edge.frames.open import open_source
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.record import STAGES
from moase_edge.runtime.session import prepare_report_folder, run_and_report
from moase_edge.runtime.web.openapi import ACTIONS, document
from moase_edge.runtime.web.pictures import MOST_PER_S
from tests.cli.commands import write_pictures, write_video

ROOT = Path(__file__).parent.parent
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
RUN = (ROOT / "docs" / "run.md").read_text(encoding="utf-8")
STATE = (ROOT / "docs" / "state.md").read_text(encoding="utf-8")
WEB = (ROOT / "docs" / "web.md").read_text(encoding="utf-8")
TRACKING = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
BENCHMARK = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")


ENGINES = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """From a heading to the next one of any level."""
    return re.split(r"^#+ ", text.partition(f"{heading}\n")[2], flags=re.MULTILINE)[0]


def named(text: str) -> set[str]:
    """Words in code style in the first column of a section's table."""
    cells = re.findall(r"^\| (.*?) \|", text, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_setting_of_the_learner_is_documented_with_its_choices() -> None:
    text = section(METHOD, "### Settings of one's own")
    assert named(text) == set(AdaptSettings.model_fields)
    for choices in (
        adapt.TrainedPart,
        adapt.ObjectiveName,
        adapt.ViewName,
        adapt.ProximalForm,
        adapt.ProximalAnchor,
    ):
        assert all(f"`{choice}`" in text for choice in get_args(choices))


def test_every_setting_of_a_part_is_documented() -> None:
    text = section(METHOD, "### Settings of one's own")
    parts = [field.annotation for field in AdaptSettings.model_fields.values()]
    for part in (part for part in parts if isinstance(part, type) and issubclass(part, Settings)):
        assert [name for name in part.model_fields if f"`{name}`" not in text] == [], part.__name__


def test_the_example_of_settings_is_taken() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", METHOD, flags=re.DOTALL)
    load_settings(AdaptSettings, json.loads(example))


def test_every_protocol_is_documented_with_its_options_and_their_defaults() -> None:
    text = section(BENCHMARK, "## Protocols")
    assert named(text) == {*PROTOCOLS, LATENCY_AWARE}
    for name in PROTOCOLS:
        (row,) = re.findall(rf"^\| `{name}` .*$", text, flags=re.MULTILINE)
        for option, default in choosable_options(name).items():
            assert (f"`{option}`" if default is None else f"`{option}={default}`") in row


def test_every_setting_of_the_tracker_is_documented_and_its_example_is_taken() -> None:
    assert named(section(TRACKING, "## Settings")) == set(TrackSettings.model_fields)
    (example,) = re.findall(r"```json\n(.*?)```", TRACKING, flags=re.DOTALL)
    assert not load_settings(AdaptSettings, json.loads(example)).track.steer


def test_every_option_of_the_state_is_documented_with_its_default() -> None:
    settings = SnapshotSettings()
    for option, default in (("every", settings.every_s), ("keep", settings.keep), ("days", settings.keep_days)):
        assert re.search(rf"^\| `--[a-z-]*{option}[^`]*` \| {default:g} \|", STATE, flags=re.MULTILINE), option


def test_every_path_of_the_web_api_is_documented_and_there_is_no_other() -> None:
    documented = re.findall(r"^\| `(?:GET|POST) (/[^`?]*)", WEB, flags=re.MULTILINE)
    paths = document(needs_token=False)["paths"]
    assert sorted(documented) == sorted(path.replace("{action}", "ACTION") for path in paths)
    assert all(f"`{action}`" in WEB for action in ACTIONS)
    assert f"{MOST_PER_S} pictures" in WEB.replace("ten", "10")


@pytest.fixture(scope="module")
def report(tracked_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documented")
    prepare_report_folder(folder / "report", force=False)
    pictures = str(write_pictures(folder / "pictures", 3))
    # Both what learns and what corrects, so that an update has every field.
    settings = AdaptSettings(objectives={"consistency": 1.0})
    with closing(Pipeline.open(tracked_artifact, settings=settings)) as pipeline, open_source(pictures) as source:
        given = StateArguments(folder=folder / "state")
        with ExitStack() as stack:
            snapshots, _ = open_snapshots(given, pipeline, source, stack)
            run_and_report(
                pipeline,
                source,
                folder / "report",
                facts=pipeline.facts,
                on_result=lambda result: None,
                max_frames=3,
                snapshots=snapshots,
            )
    return folder / "report"


def test_every_field_of_a_line_is_documented_and_there_is_no_other(report: Path) -> None:
    first = json.loads((report / "frames.jsonl").read_text().splitlines()[0])
    assert named(section(RUN, "## frames.jsonl")) == set(first)
    assert named(section(RUN, "### Stages")) == set(first["timings_ms"]) == set(STAGES)
    assert named(section(RUN, "### Updates")) == set(first["update"])


def test_every_field_of_the_summary_is_documented_and_there_is_no_other(report: Path) -> None:
    summary = json.loads((report / "summary.json").read_text())
    text = section(RUN, "## summary.json")
    assert named(text) == set(summary)
    assert "`artifact_choice`" in text
    counted = {name.split(":")[0] for name in summary["adaptation"]}
    assert counted <= named(section(RUN, "### Adaptation")) | {"alarm"}
    assert "domains_found" in counted
    assert named(section(RUN, "### State")) == set(summary["state"])


@pytest.mark.parametrize("command", re.findall(r"^(moase-edge .*?)(?:  +#.*)?$", ENGINES, flags=re.MULTILINE))
def test_the_commands_on_engines_run_as_they_stand(
    command: str, steerable_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install 'moase-edge[tensorrt-rtx]'")
    shutil.copytree(steerable_artifact, tmp_path / "artifacts" / "trial")
    monkeypatch.chdir(tmp_path)
    # No machine of the tests has TensorRT proper or the GPU that it builds for.
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(SystemExit) as end:
        main(shlex.split(command)[1:])
    assert end.value.code == (4 if command.endswith("--engine tensorrt") else 0)


def test_every_engine_that_runs_is_documented() -> None:
    rows = re.findall(r"^\| `([a-z][a-z-]+)` \|", section(ENGINES, "## Running engines"), flags=re.MULTILINE)
    assert {*rows, "auto"} == set(get_args(EngineName))


def test_every_option_of_plans_is_documented() -> None:
    text = section(ENGINES, "## Building plans")
    assert all(f"`--{name.replace('_', '-')}" in text for name in (*PlanSettings.model_fields, "engine", "target"))
    assert all(f"`{engine}`" in text for engine in get_args(PlanEngine))


@pytest.mark.parametrize("text", [RUN, STATE], ids=["run.md", "state.md"])
def test_the_python_of_the_documents_runs_as_it_stands(text: str, digits_artifact: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    shutil.copytree(digits_artifact, tmp_path / "artifacts" / "trial")
    write_video(tmp_path / "video.mp4", 5)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == (3 if text is RUN else 1)
