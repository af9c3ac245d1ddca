"""In which order an artifact's engines stand: of those that run alike, the first is taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moase_edge.artifact.manifest import EngineEntry, Precision


def put_first(engines: Sequence[EngineEntry], precision: Precision) -> tuple[EngineEntry, ...]:
    """The engines of a precision before the others, of which what was measured goes: that would rank them."""
    chosen = (entry for entry in engines if entry.precision == precision)
    others = (entry for entry in engines if entry.precision != precision)
    unmeasured = (entry.model_copy(update={"latency_ms": None, "measured_on": None}) for entry in others)
    return (*chosen, *unmeasured)


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
