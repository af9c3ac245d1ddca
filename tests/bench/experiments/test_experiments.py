"""Experiments: each runs from end to end, draws what it found, and is found by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from moase_edge.bench import bench_report, benchmark, grid, workbench
from moase_edge.bench.experiments import EXPERIMENTS, experiment, placement
from moase_edge.bench.experiments.experts import by_kind, kind_of
from moase_edge.bench.grid import SUBJECT, Cell, cells_of, run_one
from moase_edge.bench.methods import METHODS, VARIANTS, method_spec
from moase_edge.config.bench import BenchSettings
from moase_edge.data.corruptions import CORRUPTIONS, KINDS
from moase_edge.engines.pytorch import TorchEngine
from moase_edge.errors import ConfigError
from moase_edge.models.build import Backbone
from moase_edge.models.split import tensor_specs
from moase_edge.models.steer import cut
from moase_edge.report.files import write_json
from tests.cli.benches import ends

DOCS = Path(__file__).parents[3] / "docs"
SMALL = ("--corruptions", "fog,contrast", "--pictures", "8", "--source-images", "8", "--batch-size", "8")


def test_an_unknown_experiment_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="adaptation, parts, experts, sdd, activations, other-camera, placement"):
        experiment("ablation")
    code, _, said = ends("bench", "--experiment", "ablation")
    assert code == 2
    assert "choose one of adaptation" in said


def test_what_an_experiment_fixes_cannot_be_chosen() -> None:
    code, _, said = ends("bench", "--experiment", "parts", "--methods", "edge", "--protocols", "clips")
    assert code == 2
    assert "--methods, --protocols: --experiment does not use that" in " ".join(said.split())


def test_all_that_experiments_compare_are_methods_or_variants_in_use() -> None:
    used = {name for chosen in EXPERIMENTS.values() for name in chosen.methods}
    assert all(method_spec(name).name == name for name in used)
    assert VARIANTS.keys() <= used
    assert not VARIANTS.keys() & METHODS.keys()


def test_every_corruption_is_of_one_kind() -> None:
    assert sorted(name for members in KINDS.values() for name in members) == sorted(CORRUPTIONS)
    assert kind_of("zoom_blur") == "blur"
    assert kind_of("crop") == "other"
    errors = {"gaussian_noise": 10.0, "fog": 20.0, "impulse_noise": 40.0, "crop": 5.0}
    assert by_kind(errors) == {"noise": 25.0, "weather": 20.0, "other": 5.0}


def test_every_experiment_is_documented_with_its_command_and_its_picture() -> None:
    listed = (DOCS / "benchmark.md").read_text(encoding="utf-8")
    text = (DOCS / "experiments.md").read_text(encoding="utf-8")
    for name in EXPERIMENTS:
        assert f"| `{name}` |" in listed
        assert f"`--experiment {name}" in text
        assert f"](pictures/experiment-{name}.png)" in text
        assert (DOCS / "pictures" / f"experiment-{name}.png").is_file()


def torch_engine(backbone: Backbone, settings: BenchSettings) -> TorchEngine:
    """The split in PyTorch: an export for every experiment would take most of the time."""
    spec = workbench._tap_spec(backbone, settings)
    size = (backbone.preprocess.height, backbone.preprocess.width)
    _, outputs = tensor_specs(spec, *size, steer=settings.steer)
    blocks = (spec.depth, spec.channels) if settings.steer else None
    names = tuple(output.name for output in outputs)
    return TorchEngine(cut(backbone.model, spec, steer=settings.steer), names, blocks=blocks)


def run_all(settings: BenchSettings, out: Path, *, jobs: int, on_progress: Callable[[list[Cell]], None]) -> None:
    """`run_grid` in this process, all cells on one workbench."""
    with closing(workbench.Workbench(settings)) as bench:
        write_json(out / SUBJECT, bench.facts())
        for cell in cells_of(settings):
            run_one(bench, cell, out)


@pytest.fixture(scope="module")
def run_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every experiment on a handful of digits, in this process."""
    out = tmp_path_factory.mktemp("experiments")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "run_grid", run_all)
        patch.setattr(workbench, "_split_engine", torch_engine)
        patch.setattr(grid, "forget_peak_memory", lambda: None)
        opened = workbench.open_subject_and_data(BenchSettings(methods=("source",)))
        for module in (workbench, placement):
            patch.setattr(module, "open_subject_and_data", lambda settings: opened)
        patch.setattr(placement, "_ROUNDS", 1)
        # Those of every benchmark are drawn in tests of their own.
        patch.setattr(bench_report, "_pictures", lambda out, found: [])
        for name in EXPERIMENTS:
            code, shown, said = ends("bench", "--experiment", name, *SMALL, "--out", out / name)
            assert code == 0, said
            (out / name / "shown.txt").write_text(shown)
    return out


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_leaves_results_its_data_and_its_figure(run_small: Path, name: str) -> None:
    folder = run_small / name
    methods = json.loads((folder / "bench.json").read_text())["protocols"]["continual"]["methods"]
    assert list(methods) == list(dict.fromkeys(("source", *EXPERIMENTS[name].methods)))
    assert json.loads((folder / "experiment.json").read_text())
    with Image.open(folder / "experiment.png") as figure:
        assert figure.width == 1800
    page = (folder / "report.html").read_text()
    assert page.index(EXPERIMENTS[name].question) < page.index("<h2>continual</h2>")
    shown = " ".join((folder / "shown.txt").read_text().split())
    assert re.search(r"source error: continual [\d.]+ %", shown)


def test_figures_hold_what_the_results_say(run_small: Path) -> None:
    def found(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        folder = run_small / name
        data = json.loads((folder / "experiment.json").read_text())
        return data, json.loads((folder / "bench.json").read_text())["protocols"]["continual"]["methods"]

    data, methods = found("adaptation")
    assert data["error_by_domain"]["edge"] == methods["edge"]["error_by_domain"]
    data, methods = found("sdd")
    assert data["x"] == [0.125, 0.25, 0.5, 0.75, 1.0]
    assert data["y"][2] == methods["moase"]["difference"]["mean"]["points"]
    data, methods = found("parts")
    moved = methods["moase-without-sdd"]["error"]["mean"] - methods["moase"]["error"]["mean"]
    assert data["against_full"]["moase-without-sdd"][0] == pytest.approx(moved)
    data, methods = found("placement")
    base = methods["source"]["error"]["mean"]
    assert data["points"]["source"] == [1.0, base, base, base]
    assert data["parameters"]["moase-last-2"] == 2 * data["parameters"]["moase-first-1"]
