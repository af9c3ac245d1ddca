"""An artifact with an int8 engine in the old one's place, or the old one as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from moase_edge.adapt.sidecar import load_sidecar
from moase_edge.artifact.calibration import CALIBRATION_FILE, Coverage, load_calibration
from moase_edge.artifact.manifest import BuiltFor, EngineEntry
from moase_edge.artifact.parity_probe import PARITY_PROBE_FILE, load_parity_probe
from moase_edge.artifact.store import MANIFEST, Artifact, load_artifact, write_manifest
from moase_edge.calib import on_int8
from moase_edge.calib.command import Int8Request, make_int8
from moase_edge.calib.engine_parity import Reference, moved
from moase_edge.calib.evidence import PARITY_FILE
from moase_edge.calib.on_int8 import INT8_FILE, labels_of, read_labels
from moase_edge.calib.pictures import Pictures, pictures_at
from moase_edge.calib.products import load_graph
from moase_edge.calib.qdq import with_qdq
from moase_edge.calib.quantise import prepare
from moase_edge.calib.representative import Representative
from moase_edge.config.calib import QuantiseSettings
from moase_edge.config.precision import THRESHOLDS
from moase_edge.engines.choose import Machine, choices
from moase_edge.engines.onnx_runtime import OnnxRuntimeEngine
from moase_edge.engines.open import open_engine
from moase_edge.engines.ranges import WatchedEngine, counts_outside, watched
from moase_edge.engines.tensorrt.open import open_plan
from moase_edge.errors import ArtifactError, CalibrationError, ConfigError, GateError
from moase_edge.frames.open import open_source
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.metrics.processor import processor_name
from moase_edge.runtime.pipeline import Pipeline
from tests.engines.tensorrt.stand_in import Module, plan_of
from tests.engines.tensorrt.test_open import ORIN, on_gpu


@pytest.fixture(scope="module")
def calibrated(
    steerable_artifact: Path, source_digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """An artifact whose first engine is int8, and the folder of its report. Never write into them."""
    root = tmp_path_factory.mktemp("int8")
    folder = Path(shutil.copytree(steerable_artifact, root / "digits"))
    request = Int8Request(
        str(source_digits),
        method="minmax",
        max_drop=20,
        source=str(source_digits),
        first=True,
        report=root / "report",
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MOASE_EDGE_CACHE", str(root / "cache"))
        make_int8(load_artifact(folder), request)
    return folder, root / "report"


@pytest.fixture
def folder(calibrated: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(calibrated[0], tmp_path / "digits"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_int8_engine_is_added_with_its_record_and_statistics(
    calibrated: tuple[Path, Path], steerable_artifact: Path
) -> None:
    artifact, before = load_artifact(calibrated[0]), content(steerable_artifact)
    after = content(calibrated[0])
    assert after.keys() - before.keys() == {INT8_FILE, CALIBRATION_FILE, "source_stats.int8.safetensors"}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {MANIFEST, PARITY_FILE, PARITY_PROBE_FILE}
    assert [(entry.file, entry.precision) for entry in artifact.manifest.engines] == [
        (INT8_FILE, "int8"),
        ("backbone.onnx", "fp32"),
    ]
    assert [of.precision for of in artifact.manifest.source_statistics] == ["fp32", "int8"]
    assert artifact.manifest.identity == load_artifact(steerable_artifact).manifest.identity
    parity = artifact.manifest.engines[0].parity
    assert parity is not None
    assert (parity.passed, parity.measured_on.endswith("20 frames of source0")) == (True, True)
    assert 0 < parity.gradients < THRESHOLDS["int8"].gradients
    assert parity.steered is not None
    assert 0 < parity.steered < THRESHOLDS["int8"].relative_error


def test_parity_json_has_the_figures_of_the_engine_that_is_there(
    calibrated: tuple[Path, Path], steerable_artifact: Path
) -> None:
    before = json.loads((steerable_artifact / PARITY_FILE).read_text(encoding="utf-8"))
    after = json.loads((calibrated[0] / PARITY_FILE).read_text(encoding="utf-8"))
    found = after.pop("precisions")["int8"]
    assert (before.pop("precisions"), before) == ({}, after), "the rest is as it was"
    parity = load_artifact(calibrated[0]).manifest.engines[0].parity
    assert parity is not None
    assert (found["kept"], found["failures"], found["settings"]["method"]) == (True, [], "minmax")
    assert found["compared_on"] == parity.measured_on
    assert (min(*found["cosine"]), len(found["steered"]["logits"])) == (parity.cosine, 20)


def test_a_device_checks_plans_by_held_out_frames_of_the_deployment(
    calibrated: tuple[Path, Path], source_digits: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The artifact was exported without frames, so its own were noise, which int8 was never meant for."""
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    artifact = with_plan(Path(shutil.copytree(calibrated[0], tmp_path / "digits")), INT8_FILE)
    probe = load_parity_probe(artifact)
    assert probe is not None
    preprocessor = Preprocessor(artifact.manifest.preprocess)
    with open_source(str(source_digits)) as source:
        held = [preprocessor.batch([frame.image]) for frame in source.frames()][2::3]
    assert all(any(np.array_equal(image, other) for other in held) for image in probe.images)
    on_gpu(monkeypatch, ORIN, Module())
    engine = open_plan(artifact, artifact.manifest.engines[-1])
    assert engine.name == "TensorRT 10.9.0 (Orin, int8)"
    engine.close()


def test_ranges_that_are_a_quarter_too_small_do_not_pass(
    calibrated: tuple[Path, Path], source_digits: Path
) -> None:
    artifact, settings = load_artifact(calibrated[0]), QuantiseSettings()
    manifest, exact = artifact.manifest, artifact.path("backbone.onnx")
    frames = pictures_at(str(source_digits), manifest.preprocess, 30).frames
    ready = prepare(load_graph(exact), frames[::2], settings)
    sidecar = moved(load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase), 0)
    reference = Reference(OnnxRuntimeEngine(exact, threads=1), sidecar, Pictures(frames[1::2], "digits"))
    for factor, failing in ((1.0, False), (0.75, True)):
        ranges = {name: factor * reach for name, reach in ready.ranges(settings).items()}
        model = with_qdq(ready.graph, ranges, [product.node for product in ready.chosen])
        engine = OnnxRuntimeEngine(model.SerializeToString(), threads=1, precision="int8")
        failures = reference.compare(engine, THRESHOLDS["int8"]).failures
        assert any("token means" in failure for failure in failures) is bool(failures) is failing


def with_plan(folder: Path, graph: str) -> Artifact:
    """The artifact with a plan of a graph for a Jetson Orin."""
    artifact = load_artifact(folder)
    entry = next(entry for entry in artifact.manifest.engines if entry.file == graph)
    (folder / "plan.engine").write_bytes(plan_of(artifact.path(graph).read_bytes()))
    plan = EngineEntry(
        file="plan.engine",
        runtime="tensorrt",
        precision=entry.precision,
        source=graph,
        built_for=BuiltFor(target="sm87", gpu="Orin", versions={"tensorrt": "10.9.0"}),
    )
    (folder / MANIFEST).unlink()
    write_manifest(folder, {**artifact.manifest.model_dump(), "engines": (*artifact.manifest.engines, plan)})
    return load_artifact(folder)


def test_the_record_says_what_is_int8_and_what_it_costs(calibrated: tuple[Path, Path]) -> None:
    record = load_calibration(load_artifact(calibrated[0]))
    assert record is not None
    assert (record.engine, record.method, set(record.by_method)) == (INT8_FILE, "minmax", {"minmax"})
    total = sum(layer.multiply_adds for layer in record.layers)
    inside = sum(layer.multiply_adds for layer in record.layers if layer.int8)
    assert record.share == pytest.approx(inside / total)
    assert record.share >= 0.8
    assert record.frames.source.startswith("source")
    assert (record.frames.taken, record.frames.ranging, record.frames.held_out) == (60, 40, 20)
    fc1 = next(layer for layer in record.layers if layer.layer == "model.blocks.0.mlp.fc1")
    assert fc1.int8
    assert 10 < min(fc1.signal_to_noise_db.values()) < 80
    assert set(record.spans) == {"images", "mid", "out", "logits", "token_means"}
    assert record.loss.drop <= 20


def test_the_report_has_json_picture_and_page(calibrated: tuple[Path, Path]) -> None:
    report = calibrated[1]
    assert {path.name for path in report.iterdir()} == {CALIBRATION_FILE, "layers.png", "report.html"}
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "Ranges by minmax" in page
    assert "model.blocks.0.mlp.fc1" in page
    assert json.loads((report / CALIBRATION_FILE).read_text(encoding="utf-8"))["method"] == "minmax"


def test_a_run_watches_the_ranges_and_counts_in_its_report(
    calibrated: tuple[Path, Path], source_digits: Path
) -> None:
    pipeline = Pipeline.open(calibrated[0], adapt="off")
    assert [result.frame.index for result in pipeline.run(str(source_digits), max_frames=20)] == list(range(20))
    assert pipeline.outside_the_ranges() == {}
    engine = watched(load_artifact(calibrated[0]), open_engine(load_artifact(calibrated[0])))
    assert isinstance(engine, WatchedEngine)
    engine.run(np.full((1, 3, 32, 32), 9, np.float32))
    assert counts_outside(engine)["frames outside the calibrated range of images"] == 1
    engine.close()
    pipeline.close()


def test_an_engine_of_another_precision_is_not_watched(steerable_artifact: Path) -> None:
    artifact = load_artifact(steerable_artifact)
    engine = open_engine(artifact)
    assert watched(artifact, engine) is engine
    engine.close()


def test_a_second_one_needs_force(folder: Path, source_digits: Path) -> None:
    before = content(folder)
    with pytest.raises(ConfigError, match=r"holds an int8 engine\. Give --force"):
        make_int8(load_artifact(folder), Int8Request(str(source_digits)))
    assert content(folder) == before


def test_force_replaces_it_and_what_was_made_of_it(folder: Path, source_digits: Path) -> None:
    request = Int8Request(str(source_digits), method="minmax", max_drop=20)
    written, _ = make_int8(load_artifact(folder), request, force=True)
    assert [entry.precision for entry in written.manifest.engines] == ["int8", "fp32"], "it keeps its place"
    assert [of.precision for of in written.manifest.source_statistics] == ["fp32"]
    assert not (folder / "source_stats.int8.safetensors").exists()
    load_artifact(folder)


def test_a_budget_that_no_mixture_meets_leaves_the_artifact_as_it_was(
    steerable_artifact: Path, source_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOASE_EDGE_CACHE", str(tmp_path / "cache"))
    folder = Path(shutil.copytree(steerable_artifact, tmp_path / "digits"))
    before = content(folder)
    request = Int8Request(str(source_digits), method="minmax", least_int8=1.0)
    with pytest.raises(GateError, match="no mixture of int8 and float"):
        make_int8(load_artifact(folder), request)
    assert content(folder) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_engine_that_fails_the_thresholds_of_its_artifact_is_refused_and_the_artifact_stays(
    folder: Path, source_digits: Path
) -> None:
    never = THRESHOLDS["int8"].model_copy(update={"gradients": 0})
    manifest = load_artifact(folder).manifest
    (folder / MANIFEST).unlink()
    write_manifest(folder, {**manifest.model_dump(), "thresholds": {**THRESHOLDS, "int8": never}})
    before = content(folder)
    request = Int8Request(str(source_digits), method="minmax", max_drop=20)
    with pytest.raises(GateError, match=r"parity of int8 with fp32 on 20 frames .* gradients"):
        make_int8(load_artifact(folder), request, force=True)
    assert content(folder) == before


def test_what_is_to_be_first_stands_before_what_was_measured(folder: Path) -> None:
    manifest = load_artifact(folder).manifest
    int8, exact = manifest.engines
    fast = exact.model_copy(update={"latency_ms": 0.1, "measured_on": f"ONNX Runtime on {processor_name()}"})
    left_open = manifest.model_copy(update={"engines": (fast, int8), "undecided": True})
    fields = on_int8.with_int8(left_open, int8, first=True)
    assert fields == {"engines": (int8, exact), "undecided": False}
    assert choices(fields["engines"], Machine(processor_name()))[0].entry == int8
    assert on_int8.with_int8(left_open, int8, first=False) == {"engines": (fast, int8)}


def test_first_tells_of_plans_of_another_precision_that_will_still_be_run(
    steerable_artifact: Path, source_digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(steerable_artifact, tmp_path / "digits"))
    manifest = load_artifact(folder).manifest
    built = BuiltFor(target="sm87", versions={"tensorrt": "10.3.0"})
    plan = EngineEntry(file="fp32.engine", runtime="tensorrt", source="backbone.onnx", built_for=built)
    (folder / plan.file).write_bytes(b"plan")
    (folder / MANIFEST).unlink()
    write_manifest(
        folder, {**manifest.model_dump(), "engines": (*manifest.engines, plan), "source_statistics": ()}
    )
    request = Int8Request(
        str(source_digits), method="minmax", max_drop=20, first=True, source=str(source_digits), max_images=5
    )
    written, _ = make_int8(load_artifact(folder), request)
    assert [entry.file for entry in written.manifest.engines] == [INT8_FILE, "backbone.onnx", plan.file]
    assert (
        "a plan that fits the device is run before any graph: fp32.engine. Build the plan of int8" in caplog.text
    )
    assert f"moase-edge export --rebuild {folder}`" in caplog.text
    assert written.manifest.plan_graphs() == written.manifest.engines[:1]
    found = {of.precision: of.count for of in written.manifest.source_statistics}
    assert found == {"fp32": 5, "int8": 5}, "no precision is left without statistics"


@pytest.mark.parametrize("damage", ["{}", "no json"])
def test_a_damaged_record_is_refused(damage: str, folder: Path) -> None:
    artifact = load_artifact(folder)
    (folder / CALIBRATION_FILE).write_text(damage, encoding="utf-8")
    manifest = write_manifest_again(folder, artifact)
    with pytest.raises(ArtifactError, match=r"calibration.json cannot be used"):
        load_calibration(manifest)


def write_manifest_again(folder: Path, artifact: Artifact) -> Artifact:
    (folder / MANIFEST).unlink()
    write_manifest(folder, artifact.manifest.model_dump())
    return load_artifact(folder)


def chosen(*names: str | None) -> Representative:
    return Representative([np.zeros((1, 3, 4, 4), np.float32)] * len(names), list(names), COVERAGE)


COVERAGE = Coverage(source="yard", seen=2, taken=2, duplicates=0, crowded_out=0, small=0, coverage=1.0)


def test_labels_count_only_where_every_frame_has_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_labels(tmp_path, 10) is None
    (tmp_path / "labels.json").write_text('{"a.png": 3, "b.png": 0}', encoding="utf-8")
    labels = read_labels(tmp_path, 10)
    assert labels_of(chosen("b.png", "a.png"), labels) == [0, 3]
    assert labels_of(chosen("a.png", "c.png"), labels) is None
    assert "1 calibration frames have no label" in caplog.text
    assert labels_of(chosen("a.png", None), None) is None


@pytest.mark.parametrize("text", ["[1]", '{"a.png": "cat"}', '{"a.png": true}', "no json"])
def test_labels_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError, match="is no object of classes by file name"):
        read_labels(tmp_path, 10)


@pytest.mark.parametrize("label", [10, 281, -1])
def test_labels_of_another_numbering_are_refused(label: int, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(f'{{"a.png": 3, "b.png": {label}}}', encoding="utf-8")
    with pytest.raises(
        CalibrationError, match=rf"gives b.png the class {label}; the model has the classes 0 to 9"
    ):
        read_labels(tmp_path, 10)
    assert read_labels(tmp_path, 0) is None, "without a head there is nothing to be right"
