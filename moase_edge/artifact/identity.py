"""What adapted state is bound to: an artifact's identity at the precision of the engine that runs."""

from __future__ import annotations

import hashlib

from moase_edge.artifact.manifest import Manifest, Precision, canonical_json


def state_identity(manifest: Manifest, precision: Precision) -> str:
    """sha256 that state learned on an engine of `precision` is bound to.

    The manifest's own `identity` is that of fp32, and covers weights, split, MoASE settings and preprocessing. Of
    another precision features differ by its error, which state learned there has taken in.
    """
    if precision == "fp32":
        return manifest.identity
    return hashlib.sha256(canonical_json([manifest.identity, precision])).hexdigest()
