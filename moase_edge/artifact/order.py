"""In which order an artifact's engines stand: of those that run alike, the first is taken."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from moase_edge.artifact.manifest import EngineEntry, Precision


def put_first(engines: Sequence[EngineEntry], precision: Precision) -> tuple[EngineEntry, ...]:
    """The engines of a precision before the others, of which what was measured goes: that would rank them."""
    chosen = (entry for entry in engines if entry.precision == precision)
    others = (entry for entry in engines if entry.precision != precision)
    return (*chosen, *map(_unmeasured, others))


def put_beside(engines: Sequence[EngineEntry], made: Sequence[EngineEntry]) -> tuple[EngineEntry, ...]:
    """With each new engine behind those of its precision, because precisions stand in the order of choice.

    One of a new precision goes to the end; one of a name that is there takes its place.
    """
    names = {entry.file for entry in made}
    found = [entry for entry in engines if entry.file not in names]
    for engine in made:
        places = [place for place, entry in enumerate(found) if entry.precision == engine.precision]
        found.insert(max(places, default=len(found) - 1) + 1, engine)
    return tuple(found)


def put_before_alike(engines: Sequence[EngineEntry], names: Collection[str]) -> tuple[EngineEntry, ...]:
    """Named plans before others of their precision, batch and device, of which what was measured goes."""
    found = list(engines)
    for chosen in [entry for entry in engines if entry.file in names]:
        places = [place for place, entry in enumerate(found) if _serves(entry) == _serves(chosen)]
        others = (found[place] for place in places if found[place].file != chosen.file)
        for place, entry in zip(places, (chosen, *map(_unmeasured, others)), strict=True):
            found[place] = entry
    return tuple(found)


def _serves(entry: EngineEntry) -> tuple[object, ...]:
    built = entry.built_for
    return entry.runtime, entry.precision, entry.batch, built and (built.target, built.gpu)


def _unmeasured(entry: EngineEntry) -> EngineEntry:
    return entry.model_copy(update={"latency_ms": None, "measured_on": None})


def told_of_plans(engines: Sequence[EngineEntry], folder: Path) -> str | None:
    """That plans go before the graph of the first precision, which has none; None where that is not so."""
    first = engines[0].precision
    plans = [entry for entry in engines if entry.built_for is not None]
    if not plans or any(entry.precision == first for entry in plans):
        return None
    return (
        f"{first} goes first, but as a graph, and a plan that fits the device is run before any graph: "
        f"{', '.join(entry.file for entry in plans)}. Build the plan of {first} on the device that is to run it: "
        f"`moase-edge export --rebuild {folder}`."
    )
