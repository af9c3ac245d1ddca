"""Open what answers with an artifact; PyTorch is imported here and no earlier."""

from __future__ import annotations

import logging

from moase_edge.artifact.manifest import Precision
from moase_edge.artifact.source_statistics import FEWEST_TO_CORRECT, load_source_statistics
from moase_edge.artifact.store import Artifact
from moase_edge.config.adapt import ADAPT_PRESETS, AdaptSettings
from moase_edge.engines.base import Engine, precision_of
from moase_edge.errors import ConfigError
from moase_edge.runtime.frozen import FrozenMethod
from moase_edge.runtime.method import Method
from moase_edge.runtime.scheduler import Schedule

logger = logging.getLogger(__name__)

# On so few tokens a second PyTorch thread costs more than it brings: it waits for a core that the engine's
# threads still spin on (updates took 20 to 40 times as long).
_FEW_TOKENS = 4


def require_torch() -> None:
    """Say that PyTorch is missing before anything that takes time.

    Raises:
        ConfigError: it cannot be imported.
    """
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as exc:
        raise ConfigError(
            f"PyTorch cannot be imported ({exc}), and adapting needs it: `pip install 'moase-edge[adapt]'`, "
            "or run with --adapt off for the frozen model."
        ) from exc


def what_is_missing(
    artifact: Artifact, settings: AdaptSettings, schedule: Schedule, precision: Precision = "fp32"
) -> str | None:
    """What a user should know who expects the answers to adapt, as a sentence; None where nothing is missing.

    Args:
        precision: of the engine that runs; statistics of another one would show its error as a shift.
    """
    manifest = artifact.manifest
    has_classes, learns = manifest.sidecar.classes > 1, bool(settings.objectives)
    if schedule.every is None:
        return None
    if settings.track.corrects and has_classes:
        lacking = _lacking_statistics(artifact, precision)
        left = "weights learn, and nothing is corrected" if learns else "nothing adapts"
        return lacking and (
            f"{lacking}, so {left}. Record them from pictures of what the model was trained for: "
            f"`moase-edge calibrate --artifact {artifact.folder} --source DIR`."
        )
    if learns:
        return None
    headless = f"{artifact.folder} has no head with two classes or more whose answers to correct"
    why = "the settings correct nothing" if has_classes else headless
    return (
        f"{why}, and no objectives are named that weights could learn by, so nothing adapts. Name some in the "
        "file of --settings, or run with --adapt off."
    )


def _lacking_statistics(artifact: Artifact, precision: Precision) -> str | None:
    manifest = artifact.manifest
    entry = manifest.statistics_at(precision)
    if entry is None:
        which = f" at {precision}, the precision of the engine that runs" if manifest.source_statistics else ""
        return f"{artifact.folder} holds no source statistics{which}"
    if entry.count < FEWEST_TO_CORRECT:
        return (
            f"the source statistics of {artifact.folder} are of {entry.count} images, and fewer than "
            f"{FEWEST_TO_CORRECT} do not tell a shift from chance"
        )
    return None


def warn_of_what_is_missing(
    artifact: Artifact, settings: AdaptSettings | None, schedule: Schedule, precision: Precision
) -> None:
    """Log what `what_is_missing` finds; settings are by default those of the artifact's preset."""
    missing = what_is_missing(artifact, settings or preset_of(artifact), schedule, precision)
    if missing:
        logger.warning(missing)


def preset_of(artifact: Artifact) -> AdaptSettings:
    """Settings of the learner that belong to the artifact's adapters."""
    return ADAPT_PRESETS[artifact.manifest.moase.preset]


def open_method(
    artifact: Artifact, engine: Engine, settings: AdaptSettings, schedule: Schedule, *, threads: int | None
) -> Method:
    """The frozen model, or the artifact's sidecar beside it, where the schedule has any; see `open_split_method`.

    Raises:
        ConfigError: PyTorch cannot be imported, and the sidecar needs it.
    """
    if not schedule.sidecar:
        return FrozenMethod(engine)
    require_torch()
    return open_split_method(artifact, engine, settings, schedule, threads=threads)


def open_split_method(
    artifact: Artifact, engine: Engine, settings: AdaptSettings, schedule: Schedule, *, threads: int | None
) -> Method:
    """The artifact's sidecar beside its engine.

    Args:
        schedule: one that never learns answers each frame on its own, without the memory of those before.
        threads: of PyTorch, where the sidecar sees many tokens; None leaves them alone.

    Raises:
        ConfigError: settings that need source statistics, which the artifact lacks.
        ArtifactError: its sidecar or statistics cannot be used.
    """
    import torch

    from moase_edge.adapt.sidecar import load_sidecar
    from moase_edge.runtime.split_method import build_split_method

    manifest = artifact.manifest
    if manifest.sidecar.tap_tokens <= _FEW_TOKENS:
        torch.set_num_threads(1)
    elif threads is not None:
        torch.set_num_threads(threads)
    sidecar = load_sidecar(artifact.path("sidecar.safetensors"), manifest.sidecar, manifest.moase)
    statistics = load_source_statistics(artifact, precision_of(engine))
    method = build_split_method(engine, sidecar, settings, statistics, on_shift=schedule.on_shift)
    method.hold(schedule.every is None)
    return method
