"""What one cell of the benchmark (method, protocol, seed) recorded by frame, and the figures computed from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.errors import ConfigError
from moase_edge.metrics.bootstrap import PairedDifference, paired_difference
from moase_edge.metrics.calibration import calibration
from moase_edge.metrics.domains import domain_index, error_by_domain_index, frames_by_domain
from moase_edge.metrics.recovery import Recovery, recoveries

NO_ANSWER = -1
"""Class index of a frame that was not answered; it counts as wrong."""

_DTYPES = {
    "prediction": np.int64,
    "frozen_prediction": np.int64,
    "confidence": np.float32,
    "label": np.int64,
    "domain": np.int64,
    "picture": np.int64,
    "adapted": np.bool_,
    "updated": np.bool_,
    "rolled_back": np.bool_,
    "failed": np.bool_,
}


@dataclass(frozen=True, slots=True, eq=False)
class CellRecord:
    """Arrays by frame, in the order of the stream; they become read-only.

    Attributes:
        prediction: (n,) int64, class index that was answered, or `NO_ANSWER`.
        frozen_prediction: (n,) int64, the frozen model's; `NO_ANSWER` beside an adapted answer where it was not
            asked; None for a method that has none.
        confidence: (n,) float32, softmax probability of the answer, 0 .. 1; NaN without an answer.
        label: (n,) int64, class index.
        domain: (n,) int64, index into `domains`.
        domains: names, each once; one that has no frame is allowed.
        picture: (n,) int64, index of the picture in the data set that the frame was made from.
        adapted: (n,) bool, whether the answer came from adapted weights.
        updated: (n,) bool, whether a step was taken after this frame; of a batch, after its last frame.
        rolled_back: (n,) bool, whether all that was learned was set back then.
        failed: (n,) bool, whether learning or an adapted answer failed then.

    Raises:
        ConfigError: no frames, shapes, dtypes or values that do not fit.
    """

    prediction: NDArray[np.int64]
    frozen_prediction: NDArray[np.int64] | None
    confidence: NDArray[np.float32]
    label: NDArray[np.int64]
    domain: NDArray[np.int64]
    domains: tuple[str, ...]
    picture: NDArray[np.int64]
    adapted: NDArray[np.bool_]
    updated: NDArray[np.bool_]
    rolled_back: NDArray[np.bool_]
    failed: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name, array in self.arrays().items():
            _check_array(name, array, len(self.prediction))
            fixed = array.view()
            fixed.setflags(write=False)
            object.__setattr__(self, name, fixed)
        domain_index(self.domain, self.domains)
        if len(set(self.domains)) < len(self.domains):
            raise ConfigError(f"domains of a cell are {self.domains}; expected each name once")
        for name, lowest in (("prediction", NO_ANSWER), ("label", 0), ("picture", 0)):
            if getattr(self, name).min() < lowest:
                raise ConfigError(
                    f"{name} of a cell falls to {getattr(self, name).min()}; expected {lowest} or more"
                )

    def __len__(self) -> int:
        return len(self.prediction)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name; without `frozen_prediction` where there is none."""
        named = {name: getattr(self, name) for name in _DTYPES}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(n,) whether the answer is not the label."""
        return np.not_equal(self.prediction, self.label)


@dataclass(frozen=True, slots=True)
class CellFigures:
    """Figures of one cell. Errors in percent, 0 .. 100.

    Attributes:
        frames: how many were shown.
        unanswered: how many of them got no answer.
        frames_by_domain: of the domains that have frames, as in all that follow.
        error_by_domain: top-1 error.
        mean_error: over the domains, each counting once.
        overall_error: over the frames, each counting once.
        frozen_mean_error: of the frozen answers, over the domains; None where the method has none. Frames for
            which the frozen model was not asked are left out.
        difference: to the source on the same frames, with intervals; None without a source.
        calibration_error: ECE over 15 bins, in percent; NaN where no frame has a confidence.
        recovery: after each shift that lasted long enough to tell.
        share_frozen: share of the frames whose answer did not come from adapted weights, 0 .. 1.
        updates: steps that were taken.
        rollbacks: how often all that was learned was set back.
        failures: how often learning or an adapted answer failed, at most once a batch.
    """

    frames: int
    unanswered: int
    frames_by_domain: dict[str, int]
    error_by_domain: dict[str, float]
    mean_error: float
    overall_error: float
    frozen_mean_error: float | None
    difference: PairedDifference | None
    calibration_error: float
    recovery: tuple[Recovery, ...]
    share_frozen: float
    updates: int
    rollbacks: int
    failures: int

    def plain(self) -> dict[str, Any]:
        """As dicts, lists, strings and numbers, in the order of the fields."""
        data = asdict(self)
        return {**data, "recovery": list(data["recovery"])}


def figures(
    record: CellRecord,
    source: CellRecord | None,
    *,
    rng: np.random.Generator,
    samples: int = 2000,
    window: int = 30,
    tolerance: float = 5.0,
) -> CellFigures:
    """All figures of a cell.

    Args:
        record: of the method.
        source: of the source model on the same frames; the record itself for the source.
        rng: draws the pictures of the intervals; without a source it is not used.
        samples: see `paired_difference`.
        window: in frames, see `recoveries`.
        tolerance: in percent points, see `recoveries`.

    Raises:
        ConfigError: a source that saw other frames, or a setting out of range.
    """
    wrong, domain, domains = record.wrong, record.domain, record.domains
    by_domain = error_by_domain_index(wrong, domain, domains)
    return CellFigures(
        frames=len(record),
        unanswered=int(np.sum(record.prediction == NO_ANSWER)),
        frames_by_domain=frames_by_domain(domain, domains),
        error_by_domain=by_domain,
        mean_error=_mean(by_domain),
        overall_error=100.0 * float(np.mean(wrong)),
        frozen_mean_error=_frozen_mean_error(record),
        difference=None if source is None else pooled_difference([record], [source], rng=rng, samples=samples),
        calibration_error=calibration(record.confidence, ~wrong).error,
        recovery=recoveries(wrong, domain, domains=domains, window=window, tolerance=tolerance),
        share_frozen=float(np.mean(~record.adapted)),
        updates=int(np.sum(record.updated)),
        rollbacks=int(np.sum(record.rolled_back)),
        failures=int(np.sum(record.failed)),
    )


def pooled_difference(
    records: Sequence[CellRecord],
    sources: Sequence[CellRecord],
    *,
    rng: np.random.Generator,
    samples: int = 2000,
) -> PairedDifference:
    """Difference to the source over the frames of all seeds, with intervals.

    A drawn picture brings its frames of all seeds along, so that more seeds over the same pictures do not make
    the interval narrower than the pictures allow: `picture` must mean the same picture in all records.

    Args:
        records: of the method, one a seed.
        sources: of the source model, on the frames of the record in the same place.
        rng, samples: see `paired_difference`.

    Raises:
        ConfigError: no records, or a source that is missing or saw other frames.
    """
    if len(records) != len(sources) or not records:
        raise ConfigError(f"got {len(records)} records and {len(sources)} sources; expected one of each a seed")
    for record, source in zip(records, sources, strict=True):
        _check_same_frames(record, source)
    # The order of the names is that of the stream, which another seed may shuffle.
    domains = list(dict.fromkeys(name for record in records for name in record.domains))
    places = [np.array([domains.index(name) for name in record.domains])[record.domain] for record in records]
    return paired_difference(
        np.concatenate([record.wrong for record in records]),
        np.concatenate([source.wrong for source in sources]),
        np.concatenate(places),
        np.concatenate([record.picture for record in records]),
        domains=domains,
        rng=rng,
        samples=samples,
    )


def _check_array(name: str, array: NDArray[Any], frames: int) -> None:
    expected = np.dtype(_DTYPES[name])
    if array.shape != (frames,) or array.dtype != expected or not frames:
        raise ConfigError(
            f"{name} of a cell has shape {array.shape} and dtype {array.dtype}; expected ({frames},) {expected}, "
            "one value for each prediction, and at least one frame"
        )


def _mean(errors: dict[str, float]) -> float:
    return math.fsum(errors.values()) / len(errors)


def _frozen_mean_error(record: CellRecord) -> float | None:
    if record.frozen_prediction is None:
        return None
    known = (record.frozen_prediction != NO_ANSWER) | ~record.adapted
    if not known.any():
        return None
    wrong = np.not_equal(record.frozen_prediction, record.label)[known]
    return _mean(error_by_domain_index(wrong, record.domain[known], record.domains))


def _check_same_frames(record: CellRecord, source: CellRecord) -> None:
    for name in ("label", "domain", "picture"):
        if not np.array_equal(getattr(record, name), getattr(source, name)):
            raise ConfigError(
                f"{name} of the method's {len(record)} frames and of the source's {len(source)} differ; "
                "expected the same frames in the same order: run both on one protocol and seed"
            )
    if record.domains != source.domains:
        raise ConfigError(f"domains of the method are {record.domains}, of the source {source.domains}")
