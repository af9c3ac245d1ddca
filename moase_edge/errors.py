"""The exception tree. Each class carries the exit code that the command line ends with.

MoaseEdgeError            1
├── ConfigError           2   wrong usage or settings, unknown name, output exists, nothing to run
├── ArtifactError         4   an artifact that cannot be trusted: hash, schema, path, missing file
├── EngineError           4   an engine that does not fit this device or failed to load or run
├── ExportError           1   a model that could not be built, split or exported
│   └── CheckpointError   1   weights that cannot be read, fetched or fitted
├── CalibrationError      1   calibration data or statistics that cannot be used
├── SourceError           1   no such source, or a source that was lost
├── AdaptationError       1   a learner that failed or left the finite numbers
├── StorageError          1   disk full, not writable
└── GateError             3   a parity, latency or accuracy gate that failed
"""

from __future__ import annotations


class MoaseEdgeError(Exception):
    """Root of every error that moase-edge raises on purpose.

    A message says what was got, what was expected and what to do next.
    """

    exit_code: int = 1


class ConfigError(MoaseEdgeError):
    """Wrong usage or settings, an unknown name, an output that exists, nothing to run."""

    exit_code = 2


class ArtifactError(MoaseEdgeError):
    """An artifact that cannot be trusted: a hash, schema, path or file is not as its manifest says."""

    exit_code = 4


class EngineError(MoaseEdgeError):
    """An engine that does not fit this device, or that failed to load or run."""

    exit_code = 4


class ExportError(MoaseEdgeError):
    """A model that could not be built, split or exported."""


class CheckpointError(ExportError):
    """Weights that cannot be read, fetched or fitted to the model."""


class CalibrationError(MoaseEdgeError):
    """Calibration data or statistics that cannot be used."""


class SourceError(MoaseEdgeError):
    """A source that does not exist, cannot be read, or was lost."""


class AdaptationError(MoaseEdgeError):
    """A learner that failed, or whose values left the finite numbers."""


class StorageError(MoaseEdgeError):
    """A disk that is full or a place that cannot be written."""


class GateError(MoaseEdgeError):
    """A parity, latency or accuracy gate that failed."""

    exit_code = 3
