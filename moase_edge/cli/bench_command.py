"""What `bench` does once its arguments are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from moase_edge.artifact.files import refuse_existing
from moase_edge.artifact.store import newest_artifact, read_manifest
from moase_edge.bench.benchmark import run_benchmark
from moase_edge.bench.compare import compare_benchmarks
from moase_edge.bench.experiments import EXPERIMENTS
from moase_edge.bench.experiments import experiment as experiment_named
from moase_edge.bench.experiments.run import run_experiment
from moase_edge.bench.grid import cells_of
from moase_edge.bench.methods import METHODS
from moase_edge.bench.on_site import DEFAULT_SEEDS, measure_on_site
from moase_edge.bench.protocol_choice import LATENCY_AWARE, choosable_options
from moase_edge.bench.site_report import SUMMARY as SITE_SUMMARY
from moase_edge.bench.site_report import write_on_site
from moase_edge.cli.bench import BenchArguments
from moase_edge.cli.bench_view import BenchView, SiteView, show_lines, show_tables
from moase_edge.cli.interrupt import ended_by_signals
from moase_edge.cli.run_command import REPORTS, read_settings
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.config.base import load_settings
from moase_edge.config.bench import DEFAULT_CORRUPTIONS, BenchSettings
from moase_edge.data.corruptions import COMMON_CORRUPTIONS, CORRUPTIONS
from moase_edge.data.domains import CLEAN
from moase_edge.data.protocols import PROTOCOLS
from moase_edge.data.shifts import SHIFTS
from moase_edge.errors import ConfigError
from moase_edge.report.plain import plain_json
from moase_edge.report.tables import Table

# What each mode takes besides itself; a benchmark takes all but what belongs to one of them alone.
_MODES = {
    "list_names": set[str](),
    "compare": set[str](),
    "experiment": {
        *("data", "backbone", "checkpoint", "labels", "corruptions", "severity", "pictures", "source_images"),
        *("batch_size", "seeds", "jobs", "threads", "out"),
    },
    "labelled": {"artifact", "seeds", "settings", "threads", "out", "force"},
}
# What only `labelled` takes.
_OF_LABELLED = {"artifact", "force"}


def execute(given: BenchArguments, written: Mapping[str, str]) -> None:
    """Do what was asked for: list, compare, judge, run an experiment or a benchmark.

    Args:
        written: the options that stand on the command line, as `given_options` gives them.

    Raises:
        ConfigError: options that would do nothing, or name nothing; and what each mode refuses.
    """
    _refuse_unused(written)
    if given.list_names:
        show_names()
    elif given.compare is not None:
        show_comparison(*given.compare)
    elif given.labelled is not None:
        judge(given.labelled, given, written)
    elif given.experiment is not None:
        measure_experiment(given.experiment, given, written)
    else:
        measure(benchmark_values(given), given.out, jobs=given.jobs)


def benchmark_values(given: BenchArguments) -> dict[str, Any]:
    """The options in the words of `BenchSettings`."""
    return {
        "data": given.data,
        "backbone": given.backbone,
        "checkpoint": given.checkpoint,
        "labels": given.labels,
        "methods": methods_in(given.methods, source_images=given.source_images),
        "protocols": protocols_in(given.protocols),
        "corruptions": corruptions_in(given.corruptions),
        "severity": given.severity,
        "pictures": given.pictures,
        "source_images": given.source_images,
        "batch_size": given.batch_size,
        "seeds": seeds_in(given.seeds),
        "adapt_blocks": given.adapt_blocks,
        "adapt": learner_settings(given.settings),
        "threads": given.threads,
    }


def measure(values: Mapping[str, Any], out: Path | None, *, jobs: int) -> None:
    """Run the benchmark, show it, and say where the report is; ends the process if it was interrupted."""
    settings = load_settings(BenchSettings, values)
    folder = out or default_folder(settings)
    cells = cells_of(settings)
    with ended_by_signals(_kept(folder), unwinding=True), BenchView(cells) as view:
        report, page = run_benchmark(settings, folder, jobs=jobs, on_progress=view.progress)
    view.show(report, page)


def measure_experiment(name: str, given: BenchArguments, written: Collection[str]) -> None:
    """Run an experiment, show what it found, and say where the report is."""
    chosen = experiment_named(name)
    preset: dict[str, Any] = {"methods": chosen.methods, "protocols": chosen.protocols, "steer": chosen.steers}
    if "corruptions" not in written:
        preset["corruptions"] = chosen.corruptions
    settings = load_settings(BenchSettings, {**benchmark_values(given), **preset})
    folder = given.out or default_folder(settings)
    with ended_by_signals(_kept(folder), unwinding=True), BenchView(cells_of(settings)) as view:
        report, study, page = run_experiment(chosen, settings, folder, jobs=given.jobs, on_progress=view.progress)
    show_lines(chosen.question.splitlines())
    view.show(report, page)
    show_tables([study.table])


def _kept(folder: Path) -> str:
    return f"interrupted; finished cells are kept in {folder}: the same command continues there"


def default_folder(settings: BenchSettings) -> Path:
    """A folder of these settings' own, so that the same command resumes."""
    text = json.dumps(plain_json(settings.model_dump(mode="json")), sort_keys=True)
    return REPORTS / f"bench-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def show_comparison(a: Path, b: Path) -> None:
    """What differs between two runs, and a table for each protocol that both have."""
    comparison = compare_benchmarks(a, b)
    show_lines(comparison.notes)
    show_tables(comparison.tables)


def judge(folder: Path, given: BenchArguments, written: Collection[str]) -> None:
    """Whether adapting pays on labelled pictures of one's own, and where the report is."""
    place = given.artifact or newest_artifact()
    target = given.out or REPORTS / f"site-{datetime.now():%Y%m%d-%H%M%S}"
    refuse_existing(target, force=given.force, marker=SITE_SUMMARY)
    learner = None
    if given.settings is not None:
        learner = read_settings(given.settings, read_manifest(place).moase.preset)
    view = SiteView()
    outcome = measure_on_site(
        folder,
        place,
        seeds=seeds_in(given.seeds) if "seeds" in written else DEFAULT_SEEDS,
        settings=learner,
        threads=given.threads if "threads" in written else None,
        on_stage=view.stage,
    )
    view.show(outcome, write_on_site(target, outcome))


def _refuse_unused(written: Mapping[str, str]) -> None:
    """Refuse options that the chosen mode would ignore."""
    mode = next((mode for mode in _MODES if mode in written), None)
    used = set(written) - _OF_LABELLED if mode is None else _MODES[mode] | {mode}
    unused = sorted(set(written) - used)
    if unused:
        what = "a benchmark" if mode is None else written[mode]
        raise ConfigError(
            f"{', '.join(written[name] for name in unused)}: {what} does not use that. Leave it out."
        )


def show_names() -> None:
    """Methods, protocols and domains that `bench` knows."""
    methods = [(name, "whole network" if s.whole_network else "split", s.reference) for name, s in METHODS.items()]
    protocols = [(name, _options(name)) for name in PROTOCOLS]
    protocols.append((LATENCY_AWARE, "over=single_frame, and that protocol's own"))
    domains = [("common", ", ".join(COMMON_CORRUPTIONS)), ("further", ", ".join(tuple(CORRUPTIONS)[15:]))]
    domains += [("shifts", ", ".join(SHIFTS)), ("none", CLEAN)]
    show_tables(
        [
            Table("Methods", ("name", "runs on", "reference"), methods),
            Table("Protocols", ("name", "options"), protocols),
            Table("Domains", ("kind", "names"), domains),
            Table("Experiments", ("name", "question"), [(n, e.question) for n, e in EXPERIMENTS.items()]),
        ]
    )


def _options(protocol: str) -> str:
    return ", ".join(f"{name}={default}" for name, default in choosable_options(protocol).items()) or "none"


def methods_in(text: str, *, source_images: int) -> tuple[str, ...]:
    """Methods by name; `split` and `all` stand for those that a vision transformer can have here."""
    possible = [
        name
        for name, spec in METHODS.items()
        if not spec.needs_batch_norm and (source_images or not spec.needs_source_images)
    ]
    groups = {"all": possible, "split": [name for name in possible if not METHODS[name].whole_network]}
    return _names(text, groups)


def corruptions_in(text: str) -> tuple[str, ...]:
    """Domains by name, or by the name of a group."""
    groups = {
        "default": DEFAULT_CORRUPTIONS,
        "common": COMMON_CORRUPTIONS,
        "all": tuple(CORRUPTIONS),
        "shifts": tuple(SHIFTS),
    }
    return _names(text, groups)


def protocols_in(text: str) -> tuple[str, ...]:
    """Protocols as written; a part like `order=shuffled` belongs to the one before it."""
    found: list[str] = []
    for part in _parts(text):
        if found and "=" in part and ":" not in part.partition("=")[0]:
            found[-1] += f",{part}"
        else:
            found += [*PROTOCOLS, LATENCY_AWARE] if part == "all" else [part]
    return tuple(dict.fromkeys(found))


def seeds_in(text: str) -> tuple[int, ...]:
    """Seeds from a comma list.

    Raises:
        ConfigError: something that is no seed.
    """
    try:
        return tuple(dict.fromkeys(int(part) for part in _parts(text)))
    except ValueError:
        raise ConfigError(f"--seeds is {text!r}; expected whole numbers from 0 on, such as 0,1,2.") from None


def learner_settings(path: Path | None) -> AdaptSettings:
    """The shipped method's settings, with what a file changes."""
    return ADAPT_PRESETS["edge"] if path is None else read_settings(path, "edge")


def _names(text: str, groups: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in _parts(text) for name in groups.get(part, (part,))))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
