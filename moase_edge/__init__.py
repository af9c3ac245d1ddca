"""moase-edge: a frozen vision engine that keeps learning through a small sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moase_edge.version import __version__

if TYPE_CHECKING:
    from moase_edge.runtime.pipeline import Pipeline
    from moase_edge.runtime.result import Result

__all__ = ["Pipeline", "Result", "__version__"]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first asked for, so that `import moase_edge` is instant."""
    if name == "Pipeline":
        from moase_edge.runtime.pipeline import Pipeline

        return Pipeline
    if name == "Result":
        from moase_edge.runtime.result import Result

        return Result
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
