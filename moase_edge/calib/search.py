"""Find an int8 graph that keeps an accuracy budget: a method for ranges, then a mixture with float."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from moase_edge.calib.fidelity import Fidelity, fidelity_of, fitting_labels, run_graph
from moase_edge.calib.histogram import Histogram
from moase_edge.calib.products import Product, load_graph
from moase_edge.calib.qdq import with_qdq
from moase_edge.calib.quantise import Prepared, Quantised, prepare, write_quantised
from moase_edge.calib.sensitivity import Sensitivity, Step, by_worth, mix, sensitivities
from moase_edge.config.calib import QuantiseSettings, SearchSettings
from moase_edge.config.names import RangeMethod
from moase_edge.engines.base import Tensors
from moase_edge.errors import CalibrationError

logger = logging.getLogger(__name__)

Announce = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """An int8 graph that keeps its budget, and how it was found.

    Attributes:
        quantised: the graph that was written.
        method: of its ranges, but for those of LayerNorm outputs (see `QuantiseSettings`).
        by_method: what each method lost on the held-out frames, with every product in int8 that may be.
        sensitivities: of each of these products, with `method`; empty where nobody asked and none was needed.
        steps: mixtures that were tried, the last one being that of `quantised`.
        seen: histograms of the quantised tensors over the frames that ranges were taken from.
        spans: lowest and highest value of the graph's input and float outputs over all frames, by name.
        ranging, held: frames that ranges were taken from, and that judged them.
    """

    quantised: Quantised
    method: RangeMethod
    by_method: dict[RangeMethod, Fidelity]
    sensitivities: list[Sensitivity]
    steps: list[Step]
    seen: dict[str, Histogram]
    spans: dict[str, tuple[float, float]]
    ranging: int
    held: int

    @property
    def fidelity(self) -> Fidelity:
        """Of the graph that was written."""
        return self.steps[-1].fidelity


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """What a search works on.

    Attributes:
        graph: the float one.
        held: frames that are held out of the ranges.
        expected: the float graph's outputs for them.
        labels: their classes; None without.
        head: whether `logits` are answers.
        spans: see `Found`.
        ranging: see `Found`.
    """

    graph: Any
    held: list[NDArray[np.float32]]
    expected: list[Tensors]
    labels: list[int] | None
    head: bool
    spans: dict[str, tuple[float, float]]
    ranging: int

    def judge(self, ranges: Mapping[str, float], products: Sequence[Product]) -> Fidelity:
        """What is lost with `products` in int8."""
        found = run_graph(with_qdq(self.graph, ranges, [product.node for product in products]), self.held)
        return fidelity_of(found, self.expected, head=self.head, labels=self.labels)

    def found(
        self,
        ready: Prepared,
        written: Quantised,
        method: RangeMethod,
        steps: list[Step],
        by_method: Mapping[RangeMethod, Fidelity] | None = None,
        sensitive: Sequence[Sensitivity] = (),
    ) -> Found:
        """The outcome of a search, of what was `written` last."""
        return Found(
            written,
            method,
            dict(by_method or {}),
            list(sensitive),
            steps,
            ready.seen,
            self.spans,
            self.ranging,
            len(self.held),
        )


def find_int8(
    model: Path,
    out: Path,
    frames: Sequence[NDArray[np.float32]],
    settings: QuantiseSettings,
    search: SearchSettings,
    *,
    head: bool,
    labels: Sequence[int] | None = None,
    cache: Path | None = None,
    announce: Announce = logger.info,
) -> Found:
    """Write the int8 graph that loses least, with layers back in float where the budget asks for it.

    Each of `search.methods` is tried; what the best loses on held-out frames decides what goes back to float.

    Args:
        model: a float ONNX graph.
        out: where the int8 graph is written.
        frames: (1, 3, H, W) float32 each, preprocessed; one in `search.hold_out` is held out of the ranges.
        head: whether the graph's `logits` are answers.
        labels: class of each frame; None judges by agreement.
        cache: folder for what was observed so far.
        announce: is told which stage begins.

    Raises:
        CalibrationError: too few frames to hold some out, or frames or a graph that cannot be used.
        GateError: no mixture keeps the budget; nothing is written.
        StorageError: `out` cannot be written.
    """
    announce("watching activations")
    bench, ready = _set_up(model, frames, settings, search.hold_out, head=head, labels=labels, cache=cache)
    _warn_of_coarse_points(len(bench.held), search.max_drop, head=head)
    ranges, by_method = _try_methods(bench, ready, settings, search, announce)
    best = least_loss(by_method)
    needed = search.always_probe or by_method[best].drop > search.max_drop
    sensitive = _sensitivities(bench, ready, ranges[best], search.probes, announce) if needed else []
    announce("looking for a mixture that keeps the budget")
    written, steps = _mixture(bench, ready, ranges[best], by_worth(sensitive), search, out)
    return bench.found(ready, written, best, steps, by_method, sensitive)


def _mixture(
    bench: _Bench,
    ready: Prepared,
    ranges: Mapping[str, float],
    ranked: Sequence[Product],
    search: SearchSettings,
    out: Path,
) -> tuple[Quantised, list[Step]]:
    """Write the first mixture that keeps the budget, and give every one that was tried."""
    inside, steps = mix(
        ready.chosen,
        ready.kept,
        ranked,
        partial(bench.judge, ranges),
        max_drop=search.max_drop,
        least_int8=search.least_int8,
    )
    floats = [product for product in (*ready.chosen, *ready.kept) if product not in inside]
    return write_quantised(ready.graph, out, ranges, inside, floats), steps


def _set_up(
    model: Path,
    frames: Sequence[NDArray[np.float32]],
    settings: QuantiseSettings,
    hold_out: int,
    *,
    head: bool,
    labels: Sequence[int] | None = None,
    cache: Path | None = None,
) -> tuple[_Bench, Prepared]:
    """What the graph shows of the frames, and the graph ready for Q/DQ; arguments and errors as `find_int8`."""
    refuse_too_few(len(frames), hold_out)
    exact = load_graph(model)
    ranging, held = dealt(frames, hold_out)
    ready = prepare(exact, ranging, settings, cache=cache)
    outputs = run_graph(exact, frames)
    fitting = None if labels is None else fitting_labels(outputs, labels)
    classes = None if fitting is None else dealt(fitting, hold_out)[1]
    spans = spans_of(exact, frames, outputs)
    return _Bench(ready.graph, held, dealt(outputs, hold_out)[1], classes, head, spans, len(ranging)), ready


def int8_as_set(
    model: Path,
    out: Path,
    frames: Sequence[NDArray[np.float32]],
    settings: QuantiseSettings,
    *,
    hold_out: int,
    head: bool,
    cache: Path | None = None,
) -> Found:
    """Write the int8 graph that `settings` ask for; nothing is searched, and no budget is kept.

    Args:
        hold_out: one frame in so many is held out of the ranges and judges them.
        model, out, frames, head, cache: as of `find_int8`.

    Raises:
        CalibrationError: too few frames to hold some out, or frames or a graph that cannot be used.
        StorageError: `out` cannot be written.
    """
    bench, ready = _set_up(model, frames, settings, hold_out, head=head, cache=cache)
    ranges = ready.ranges(settings)
    fidelity = bench.judge(ranges, ready.chosen)
    written = write_quantised(ready.graph, out, ranges, ready.chosen, ready.kept)
    return bench.found(ready, written, settings.method, [Step(None, written.share, fidelity)])


def _sensitivities(
    bench: _Bench, ready: Prepared, ranges: Mapping[str, float], probes: int, announce: Announce
) -> list[Sensitivity]:
    announce("measuring the sensitivity of each layer")
    some = slice(probes)
    return sensitivities(ready.graph, ranges, ready.chosen, bench.held[some], bench.expected[some])


def refuse_too_few(count: int, hold_out: int) -> None:
    """Refuse frames of which none can be held out.

    Raises:
        CalibrationError: there are fewer than `hold_out`.
    """
    if count < hold_out:
        raise CalibrationError(
            f"{count} calibration frames that differ are too few: one in {hold_out} is held out of the ranges. "
            "Name more images, some hundred at best."
        )


def _warn_of_coarse_points(held: int, max_drop: float, *, head: bool) -> None:
    """Warn where one answer weighs more than may be lost; a budget of 0 says itself that none may be."""
    points = 100 / held
    if head and 0 < max_drop < points:
        logger.warning(
            "one of %d held-out frames weighs %.1f points, more than the budget of %g, which holds only where no "
            "answer is lost on them and says little of other frames. Give more frames that differ, or a larger "
            "--max-drop",
            held,
            points,
            max_drop,
        )


def _try_methods(
    bench: _Bench,
    ready: Prepared,
    settings: QuantiseSettings,
    search: SearchSettings,
    announce: Announce,
) -> tuple[dict[RangeMethod, dict[str, float]], dict[RangeMethod, Fidelity]]:
    """Ranges by each method, and what each loses."""
    ranges: dict[RangeMethod, dict[str, float]] = {}
    losses: dict[RangeMethod, Fidelity] = {}
    for method in search.methods:
        announce(f"trying ranges by {method}")
        ranges[method] = ready.ranges(settings, method)
        losses[method] = bench.judge(ranges[method], ready.chosen)
    return ranges, losses


def least_loss(by_method: Mapping[RangeMethod, Fidelity]) -> RangeMethod:
    """The method with the smallest feature error: on some dozen frames answers tell methods apart by chance."""
    return min(by_method, key=lambda method: by_method[method].feature_error)


def spans_of(
    graph: Any, frames: Sequence[NDArray[np.float32]], outputs: Sequence[Tensors]
) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of the images and of each output of a graph over `frames`, by name."""
    spans = {graph.graph.input[0].name: _span(frames)}
    return {**spans, **{name: _span([each[name] for each in outputs]) for name in outputs[0]}}


def _span(values: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    return min(float(value.min()) for value in values), max(float(value.max()) for value in values)


def dealt(values: Sequence[T], hold_out: int) -> tuple[list[T], list[T]]:
    """All but the last of every `hold_out`, and these."""
    kept = [value for index, value in enumerate(values) if index % hold_out != hold_out - 1]
    return kept, list(values[hold_out - 1 :: hold_out])
