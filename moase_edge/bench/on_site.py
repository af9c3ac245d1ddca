"""Whether adapting pays on one's own camera: frozen against adapting on a few dozen labelled pictures.

The figures, and why these:
- The shipped pipeline answers the pictures frozen, and adapting from each picture after it was answered. Labels
  are compared with the answers afterwards; no learner sees them.
- A camera looks at its site for weeks, a few dozen pictures are over after a few dozen updates, and one update
  changes little. So the pictures are shown for several rounds. The error of the *first* round is that of pictures
  nobody had seen; the error of the *last* one is where adapting leads on this site, and the verdict is on it. The
  last round answers pictures that were learned from before, without labels, as a camera's are: it says nothing of
  another site. The frozen model answers a picture the same each time, so its error is given once.
- One order of a few dozen pictures says little. They are shown in the camera's order and in some shuffled ones,
  each time from the artifact's own state. The figures are over all orders; the camera's order also stands alone,
  because it is the one that happens: neighbours in it look alike, which is what makes adapting hard.
- Intervals resample pictures, and a drawn picture brings its answers in all orders along: more orders do not make
  them narrower than the pictures allow. Pictures count as independent; those that were taken seconds apart are
  not, and make the verdict too sure.
- Both rounds are compared, but one verdict is given: with the better of two, chance would win more often.
- Calibration error is computed by order and averaged: over more answers at once it would come out smaller by that
  alone, and on a few dozen it is rough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from moase_edge.artifact.store import Artifact, load_artifact, newest_artifact
from moase_edge.bench.recorded_engine import RecordedEngine
from moase_edge.bench.site_answers import Shown, show
from moase_edge.bench.site_figures import OnSite, compare
from moase_edge.bench.site_pictures import Site, open_site
from moase_edge.config.adapt import AdaptSettings
from moase_edge.config.names import EngineName
from moase_edge.engines.base import Engine, precision_of
from moase_edge.engines.open import open_engine
from moase_edge.errors import ConfigError
from moase_edge.runtime.method import Method
from moase_edge.runtime.open_split import warn_of_what_is_missing
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.scheduler import parse_schedule
from moase_edge.runtime.stages import Stages

DEFAULT_SEEDS = (0, 1, 2)
DEFAULT_ROUNDS = 5

_STAGES = ("engine", "sidecar", "update")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a report says of how it was measured."""

    folder: str
    rounds: int
    seeds: tuple[int, ...]
    samples: int
    threads: int | None


def measure_on_site(
    folder: str | Path,
    artifact: str | Path | None = None,
    *,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    rounds: int = DEFAULT_ROUNDS,
    samples: int = 2000,
    settings: AdaptSettings | None = None,
    engine: EngineName = "auto",
    threads: int | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
) -> OnSite:
    """Answer labelled pictures frozen and adapting, and compare.

    The engine runs twice on each picture, for both modes' times; further rounds and orders see recorded taps.

    Args:
        folder: class folders, or pictures and a labels.json (see `open_site`).
        artifact: its folder; None takes the newest.
        seeds: a shuffled order for each, beside the camera's order; none will do.
        rounds: how often each order is shown.
        samples: of the bootstrap.
        settings: of the learner; None takes those of the artifact's preset.
        engine, threads: as `Pipeline.open` takes them.
        on_stage: is told what begins.

    Raises:
        ConfigError: pictures that do not fit (see `open_site`), settings out of range, or PyTorch is missing.
        ArtifactError: the artifact cannot be trusted, or its model has no head.
        EngineError: no engine of it runs here.
        SourceError: pictures that cannot be read.
    """
    _check(seeds, rounds)
    loaded = load_artifact(Path(artifact) if artifact is not None else newest_artifact())
    on_stage(f"reading the pictures of {folder}")
    site = open_site(Path(folder), loaded)
    asked = _Asked(str(folder), rounds, tuple(seeds), samples, threads)
    with closing(open_engine(loaded, engine, threads=threads)) as opened:
        warn_of_what_is_missing(loaded, settings, parse_schedule("every"), precision_of(opened))
        return _measure(loaded, opened, site, asked, settings, on_stage)


def _measure(
    artifact: Artifact,
    engine: Engine,
    site: Site,
    asked: _Asked,
    settings: AdaptSettings | None,
    on_stage: Callable[[str], None],
) -> OnSite:
    pipeline_over = partial(Pipeline.over, artifact, settings=settings, threads=asked.threads)
    first = pipeline_over(engine)
    _warm_up(first.method, site)
    shown = _shown(pipeline_over, engine, site, seeds=asked.seeds, rounds=asked.rounds, on_stage=on_stage)
    on_stage("comparing")
    measured = {"frozen": shown.frozen_ms_by_stage, "adapting": shown.orders[0].ms_by_stage}
    return compare(
        site,
        shown,
        rounds=asked.rounds,
        samples=asked.samples,
        settings={**asdict(asked), "seeds": list(asked.seeds), "learner": first.facts["learner"]},
        artifact=_artifact_facts(artifact, first),
        measured={mode: _cost(ms_by_stage) for mode, ms_by_stage in measured.items()},
    )


def _shown(pipeline_over: Callable[..., Pipeline], engine: Engine, site: Site, **options: Any) -> Shown:
    """All answers; what is steered differs from order to order, and is not kept."""
    recorded = RecordedEngine(engine, keep_steered=False)
    return show(
        pipeline_over(engine, adapt="off").method,
        lambda: pipeline_over(recorded).method,
        site.frames,
        site.preprocessor,
        engine=recorded,
        **options,
    )


def _check(seeds: Sequence[int], rounds: int) -> None:
    if rounds < 1 or len(set(seeds)) < len(seeds) or any(seed < 0 for seed in seeds):
        raise ConfigError(
            f"got {rounds} rounds and seeds {', '.join(map(str, seeds))}; "
            "expected at least one round, and seeds from 0, each once"
        )


def _warm_up(method: Method, site: Site) -> None:
    """Answer and learn from one picture, untimed: what libraries do once is no cost of a frame."""
    method.learn(method.predict(site.preprocessor.batch([site.frames[0].image]), Stages()))


def _artifact_facts(artifact: Artifact, pipeline: Pipeline) -> dict[str, Any]:
    facts = {name: pipeline.facts[name] for name in ("identity", "engine", "moase")}
    provenance = artifact.manifest.provenance
    return {
        "folder": str(artifact.folder),
        "name": artifact.manifest.name,
        "backbone": provenance.backbone,
        "weights": provenance.weights,
        **facts,
    }


def _cost(ms_by_stage: Mapping[str, float]) -> dict[str, float]:
    stages = {stage: ms_by_stage[stage] for stage in _STAGES if stage in ms_by_stage}
    return {**stages, "ms_per_frame": sum(stages.values())}
