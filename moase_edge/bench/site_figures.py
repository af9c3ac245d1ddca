"""What the answers to a few pictures say: figures by round, order and picture, frozen against adapting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.bench.site_answers import Shown, ShownOrder
from moase_edge.bench.site_pictures import Site
from moase_edge.data.chance import generator
from moase_edge.metrics.calibration import calibration
from moase_edge.metrics.cell import NO_ANSWER, CellRecord
from moase_edge.metrics.spread import Spread, spread
from moase_edge.metrics.verdict import Verdict, judge
from moase_edge.report.plain import plain_json

# First number of the generator's key, apart from those of data sets, protocols and orders.
_RESAMPLING_KEY = 111


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """One round, all orders together, against the frozen model on the same pictures. Shares in percent.

    Attributes:
        number: which round, from 1.
        error: over the orders.
        changed: answers that are not the frozen model's.
        mended, broken: answers that became right, and wrong; error is the frozen one - mended + broken.
        calibration_error: ECE, the mean over the orders.
        verdict: over pictures.
    """

    number: int
    error: Spread
    changed: float
    mended: float
    broken: float
    calibration_error: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class OrderFigures:
    """One order by itself. Errors in percent.

    Attributes:
        name: `camera`, or `shuffled` and the seed.
        first_error, last_error: of the first and the last round.
        verdict: of the last round.
        updates: steps taken, over all rounds.
        rollbacks: how often all that was learned was set back.
        answered_frozen: answers that did not come from adapted weights, over all rounds.
        failures: how often learning or an adapted answer failed, by reason.
    """

    name: str
    first_error: float
    last_error: float
    verdict: Verdict
    updates: int
    rollbacks: int
    answered_frozen: int
    failures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PictureFigures:
    """One picture: its file, the names of its class and of the frozen answer, and in how many orders the last
    round answered it wrong, as a share, 0 .. 1."""

    file: str
    label: str
    frozen_answer: str | None
    frozen_wrong: bool
    last_wrong: float


@dataclass(frozen=True, slots=True)
class OnSite:
    """What adapting does on one's own pictures. Errors in percent.

    Attributes:
        pictures, classes: how many pictures, and how many classes they show.
        rounds: how often each order was shown.
        frozen_error, frozen_calibration_error: of the frozen model.
        commonest_error: of whoever always answers the commonest class of these pictures.
        first, last: rounds; the same one where there is one.
        by_order: the camera's order first.
        by_picture: in the camera's order.
        left_out: files that are not among the pictures, by reason.
        by_position: whether class folders stand for the classes in sorted order, because they bear other names.
        settings, artifact: what was run, as plain data.
        measured: milliseconds a frame by mode (`frozen`, `adapting`) and stage, and their sum `ms_per_frame`; the
            only part that does not repeat. Without decoding and resizing, which are the same for both.
    """

    pictures: int
    classes: int
    rounds: int
    frozen_error: float
    frozen_calibration_error: float
    commonest_error: float
    first: RoundFigures
    last: RoundFigures
    by_order: tuple[OrderFigures, ...]
    by_picture: tuple[PictureFigures, ...]
    left_out: Mapping[str, int]
    by_position: bool
    settings: Mapping[str, Any]
    artifact: Mapping[str, Any]
    measured: Mapping[str, Mapping[str, float]]

    @property
    def verdict(self) -> Verdict:
        """On the last round, over all orders."""
        return self.last.verdict

    def plain(self) -> dict[str, Any]:
        """For JSON: `settings`, `artifact`, `results` and, apart because they do not repeat, `measured`."""
        plain: dict[str, Any] = plain_json(self)
        apart = {name: plain.pop(name) for name in ("settings", "artifact", "measured")}
        measured = apart.pop("measured")
        return {**apart, "results": {"verdict": self.verdict.name, **plain}, "measured": measured}


def compare(
    site: Site,
    shown: Shown,
    *,
    rounds: int,
    samples: int,
    settings: Mapping[str, Any],
    artifact: Mapping[str, Any],
    measured: Mapping[str, Mapping[str, float]],
) -> OnSite:
    """All figures of what was shown; for the arguments see `on_site.measure_on_site` and `OnSite`."""
    frozen, labels = shown.frozen, shown.frozen.label
    first = _round([order.first for order in shown.orders], frozen, 1, samples)
    last = _round([order.last for order in shown.orders], frozen, rounds, samples) if rounds > 1 else first
    return OnSite(
        pictures=len(site.frames),
        classes=len(np.unique(labels)),
        rounds=rounds,
        frozen_error=_percent(frozen.wrong),
        frozen_calibration_error=_calibration_error(frozen),
        commonest_error=100.0 - 100.0 * int(np.bincount(labels).max()) / len(labels),
        first=first,
        last=last,
        by_order=tuple(_order(order, frozen, samples) for order in shown.orders),
        by_picture=_by_picture(site, shown),
        left_out={reason: count for reason, count in site.left_out.items() if count},
        by_position=site.by_position,
        settings=settings,
        artifact=artifact,
        measured=measured,
    )


def _round(records: Sequence[CellRecord], frozen: CellRecord, number: int, samples: int) -> RoundFigures:
    answers = np.concatenate([record.prediction for record in records])
    wrong = np.concatenate([record.wrong for record in records])
    places = np.concatenate([record.picture for record in records])
    frozen_wrong = frozen.wrong[places]
    return RoundFigures(
        number=number,
        error=spread([_percent(record.wrong) for record in records]),
        changed=_percent(np.not_equal(answers, frozen.prediction[places])),
        mended=_percent(frozen_wrong & ~wrong),
        broken=_percent(wrong & ~frozen_wrong),
        calibration_error=fmean(_calibration_error(record) for record in records),
        verdict=_judged(wrong, frozen_wrong, places, samples),
    )


def _order(order: ShownOrder, frozen: CellRecord, samples: int) -> OrderFigures:
    last = order.last
    return OrderFigures(
        name=order.name,
        first_error=_percent(order.first.wrong),
        last_error=_percent(last.wrong),
        verdict=_judged(last.wrong, frozen.wrong[last.picture], last.picture, samples),
        updates=order.updates,
        rollbacks=order.rollbacks,
        answered_frozen=order.answered_frozen,
        failures=order.failures,
    )


def _judged(
    wrong: NDArray[np.bool_], frozen_wrong: NDArray[np.bool_], places: NDArray[np.int64], samples: int
) -> Verdict:
    # The same draws each time: one comparison's interval does not depend on how many others there are.
    return judge(wrong, frozen_wrong, places, rng=generator(0, _RESAMPLING_KEY), samples=samples)


def _by_picture(site: Site, shown: Shown) -> tuple[PictureFigures, ...]:
    wrong = np.zeros(len(site.frames))
    for order in shown.orders:
        wrong[order.last.picture] += order.last.wrong
    frozen = shown.frozen
    return tuple(
        PictureFigures(
            file=file,
            label=site.names[label],
            frozen_answer=None if answer == NO_ANSWER else site.names[answer],
            frozen_wrong=bool(answer != label),
            last_wrong=float(wrong[place] / len(shown.orders)),
        )
        for place, (file, label, answer) in enumerate(
            zip(site.files, frozen.label.tolist(), frozen.prediction.tolist(), strict=True)
        )
    )


def _calibration_error(record: CellRecord) -> float:
    return calibration(record.confidence, ~record.wrong).error


def _percent(marks: NDArray[np.bool_]) -> float:
    return 100.0 * float(np.mean(marks))
