"""`--rebuild`: the plans that an artifact lacks, in a new folder that takes the old one's place."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from moase_edge.artifact.plan_again import settings_of
from moase_edge.artifact.store import MANIFEST, load_artifact
from moase_edge.cli import main
from moase_edge.config.plan import PlanSettings
from moase_edge.engines.tensorrt.device import Device
from moase_edge.engines.tensorrt.flavour import Flavour
from moase_edge.errors import ArtifactError, ConfigError, ExportError
from moase_edge.export import plans, rebuild
from moase_edge.export.plan_targets import PlanBuild, PlanRequest
from moase_edge.export.rebuild import rebuild_artifact
from tests.artifact.halves import add_halves
from tests.blocked import run_blocked

FOR_SM86 = PlanRequest("tensorrt-rtx", ("sm86",))


pytestmark = pytest.mark.usefixtures("rtx")


@pytest.fixture
def folder(steerable_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(steerable_artifact, tmp_path / "artifacts" / "digits"))


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> list[PlanSettings]:
    """A builder that takes no time; the list has the settings of what it built."""
    built: list[PlanSettings] = []

    def plan(_graph: bytes, _build: PlanBuild, settings: PlanSettings, _cache: object) -> bytes:
        built.append(settings)
        return f"plan {len(built)}".encode()

    monkeypatch.setattr(plans, "_cached_plan", plan)
    return built


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_is_added_and_everything_else_stays(folder: Path) -> None:
    before, old = content(folder), load_artifact(folder).manifest
    made = rebuild_artifact(folder, FOR_SM86)
    after = content(folder)
    (name,) = after.keys() - before.keys()
    assert name.startswith("backbone.fp32.sm86.rtx")
    assert {name for name in before if before[name] != after[name]} == {MANIFEST}
    assert load_artifact(folder).manifest == made.manifest
    assert made.manifest.engines[: len(old.engines)] == old.engines
    changed = {"engines", "files", "manifest_sha256"}
    assert made.manifest.model_dump(exclude=changed) == old.model_dump(exclude=changed)


def test_what_is_there_is_not_built_again_and_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild_artifact(folder, FOR_SM86)
    stages: list[str] = []
    monkeypatch.setattr(rebuild, "replace_artifact", None)
    assert rebuild_artifact(folder, FOR_SM86, on_stage=stages.append) == load_artifact(folder)
    assert stages == ["checking the artifact"]


def test_only_what_is_lacking_is_built(folder: Path) -> None:
    rebuild_artifact(folder, FOR_SM86)
    stages: list[str] = []
    both = PlanRequest("tensorrt-rtx", ("sm86", "sm89"))
    made = rebuild_artifact(folder, both, on_stage=stages.append)
    targets = [entry.built_for.target for entry in made.manifest.engines if entry.built_for is not None]
    assert targets == ["sm86", "sm89"]
    assert len([stage for stage in stages if stage.startswith("building the plan")]) == 1


def test_a_plan_of_other_settings_takes_the_place_of_one_of_the_same_name(folder: Path) -> None:
    before = rebuild_artifact(folder, FOR_SM86).manifest
    (name,) = (entry.file for entry in before.engines if entry.built_for is not None)
    entries = [
        entry.model_copy(update={"built_for": entry.built_for.model_copy(update={"version_compatible": True})})
        if entry.built_for is not None
        else entry
        for entry in before.engines
    ]
    rewrite(folder, engines=tuple(entries))
    after = rebuild_artifact(folder, FOR_SM86).manifest
    assert [entry.file for entry in after.engines].count(name) == 1
    assert after.engines == before.engines


@pytest.mark.parametrize(("made_with", "lacking"), [("580.10", 0), ("535.1", 0), ("590.2", 1)])
def test_a_plan_that_this_devices_driver_refuses_counts_as_lacking(
    made_with: str, lacking: int, steerable_artifact: Path
) -> None:
    def build(driver: str) -> PlanBuild:
        device = Device("NVIDIA L4", "sm89", 24576, {"driver": driver})
        return PlanBuild(Flavour("tensorrt", None, "10.9.0"), "sm89", device)

    artifact, request = load_artifact(steerable_artifact), PlanRequest("tensorrt")
    plan = plans.plan_entry(artifact.manifest.engines[0], build(made_with), request.settings)
    manifest = artifact.manifest.model_copy(update={"engines": (*artifact.manifest.engines, plan)})
    found = rebuild.lacking_plans(manifest, (build("580.10"),), request)
    assert len(found) == lacking


def rewrite(folder: Path, **fields: object) -> None:
    """The artifact with other fields in its manifest, as another version of moase-edge may have written it."""
    from moase_edge.artifact.store import write_manifest

    manifest = load_artifact(folder).manifest
    (folder / MANIFEST).unlink()
    write_manifest(folder, {**manifest.model_dump(), **fields})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"tf32": True}, ".fp32.tf32.sm86."),
        ({"workspace_mib": 512}, ".fp32.sm86."),
        ({"batch": (1, 1, 8)}, ".fp32.b1-8.sm86."),
        ({"batch": (1, 4, 8)}, ".fp32.b1-4-8.sm86."),
    ],
)
def test_a_plan_of_other_settings_is_built_and_told_from_the_one_that_is_there(
    folder: Path, instant: list[PlanSettings], settings: dict[str, Any], named: str
) -> None:
    other = PlanRequest("tensorrt-rtx", ("sm86",), PlanSettings(**settings))
    usual = rebuild_artifact(folder, FOR_SM86).manifest.engines
    made = rebuild_artifact(folder, other).manifest.engines
    assert instant == [PlanSettings(), other.settings]
    assert [settings_of(entry) for entry in made if named in entry.file] == [other.settings]
    assert rebuild_artifact(folder, other).manifest.engines == made
    assert rebuild_artifact(folder, FOR_SM86).manifest.engines[0] == usual[0]


def test_of_plans_that_serve_alike_the_one_that_was_asked_for_last_goes_first(
    folder: Path, instant: list[PlanSettings]
) -> None:
    fast = PlanRequest("tensorrt-rtx", ("sm86",), PlanSettings(tf32=True))
    for request, first in ((FOR_SM86, False), (fast, True), (FOR_SM86, False)):
        made = rebuild_artifact(folder, request).manifest
        plans = [entry.built_for for entry in made.engines if entry.built_for is not None]
        assert plans[0].tf32 == first
    assert len(instant) == 2


def spoil(plan: Path, how: str) -> None:
    if how == "cut short":
        plan.write_bytes(plan.read_bytes()[:3])
    elif how == "renamed":
        plan.rename(plan.with_name("backbone.fp32.sm89.rtx1.7.engine"))
    else:
        plan.rename(plan.parent.parent / "outside")
        plan.symlink_to(plan.parent.parent / "outside")


@pytest.mark.parametrize("how", ["cut short", "renamed", "linked"])
def test_a_spoilt_plan_is_refused_with_the_command_that_builds_it_anew(
    folder: Path, instant: list[PlanSettings], how: str
) -> None:
    request = PlanRequest("tensorrt-rtx", ("sm86",), PlanSettings(batch=(1, 4, 8), tf32=True))
    made = rebuild_artifact(folder, request)
    spoil(folder / made.manifest.engines[-1].file, how)
    with pytest.raises(ArtifactError) as refused:
        load_artifact(folder)
    (command,) = re.findall(r"Build it anew: `moase-edge (.*?)`", str(refused.value))
    with pytest.raises(SystemExit) as end:
        main(shlex.split(command))
    assert not end.value.code
    assert load_artifact(folder).manifest.engines == made.manifest.engines
    assert not (folder / made.manifest.engines[-1].file).is_symlink()


def test_a_spoilt_plan_for_another_device_is_left_out_and_any_other_spoilt_file_refused(
    folder: Path, instant: list[PlanSettings], caplog: pytest.LogCaptureFixture
) -> None:
    for_sm89 = rebuild_artifact(folder, PlanRequest("tensorrt-rtx", ("sm89",))).manifest.engines[-1]
    spoil(folder / for_sm89.file, "cut short")
    made = rebuild_artifact(folder, FOR_SM86)
    made.verify()
    assert [entry.built_for.target for entry in made.manifest.engines if entry.built_for] == ["sm86"]
    assert "has changed" in caplog.text
    assert "else left out" in caplog.text
    spoil(folder / "backbone.onnx", "cut short")
    with pytest.raises(ArtifactError, match=r"backbone\.onnx has changed.*export --force"):
        rebuild_artifact(folder, FOR_SM86)


def test_a_spoilt_plan_of_a_graph_that_is_not_the_first_is_built_anew_too(
    folder: Path, instant: list[PlanSettings]
) -> None:
    halves = add_halves(folder, undecided=True)
    made = rebuild_artifact(folder, FOR_SM86)
    rewrite(folder, undecided=False)
    plans = [entry for entry in made.manifest.engines if entry.built_for is not None]
    assert len(plans) == len(halves.manifest.engines) > 1
    spoil(folder / plans[-1].file, "cut short")
    rebuilt = rebuild_artifact(folder, FOR_SM86)
    rebuilt.verify()
    assert rebuilt.manifest.engines == made.manifest.engines


@pytest.mark.parametrize("error", [KeyboardInterrupt, ExportError])
def test_a_build_that_ends_early_leaves_the_artifact_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error("no")

    before = content(folder.parent)
    monkeypatch.setattr(plans, "build_plan", fail)
    with pytest.raises(error):
        rebuild_artifact(folder, PlanRequest("tensorrt-rtx", ("sm86",), PlanSettings(batch=(3, 3, 3))))
    assert content(folder.parent) == before


def test_onnx_runtime_has_nothing_to_rebuild(folder: Path) -> None:
    with pytest.raises(ConfigError, match="runs the artifact's graphs as they are"):
        rebuild_artifact(folder, PlanRequest("ort"))


def test_it_needs_neither_pytorch_nor_timm_nor_onnx_nor_onnxruntime(folder: Path) -> None:
    code = """
    import sys
    from moase_edge.cli import main
    main(["export", "--rebuild", sys.argv[1], "--engine", "tensorrt-rtx", "--target", "sm86"])
    """
    blocked = ["torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "pycuda"]
    assert "backbone.fp32.sm86.rtx" in run_blocked(code, blocked, [folder])
