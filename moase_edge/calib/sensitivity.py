"""Which layers int8 hurts most, and a mixture of int8 and float that keeps a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.calib.fidelity import Fidelity, fidelity_of, run_graph
from moase_edge.calib.products import Product
from moase_edge.calib.qdq import floated, with_qdq
from moase_edge.calib.quantise import share_of
from moase_edge.engines.base import Tensors
from moase_edge.errors import GateError


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What turning one product back to float takes off the feature error.

    Attributes:
        product: that was turned back.
        error_before, error_after: relative error of the taps, median over frames; all in int8, and this one not.
    """

    product: Product
    error_before: float
    error_after: float

    @property
    def gain(self) -> float:
        """By which the error falls; below 0 where float makes it worse."""
        return self.error_before - self.error_after


def sensitivities(
    graph: Any,
    ranges: Mapping[str, float],
    chosen: Sequence[Product],
    frames: Sequence[NDArray[np.float32]],
    expected: Sequence[Tensors],
) -> list[Sensitivity]:
    """Each of the products `chosen` turned back to float by itself, in their order.

    Args:
        graph: the float ONNX model; `expected` its outputs for `frames`, (1, 3, H, W) each.
        ranges: of every computed input of `chosen`.
    """

    quantised = with_qdq(graph, ranges, [product.node for product in chosen])

    def error_of(model: Any) -> float:
        """Relative error of the taps that a graph gives."""
        return fidelity_of(run_graph(model, frames), expected, head=False).feature_error

    before = error_of(quantised)
    return [Sensitivity(product, before, error_of(floated(quantised, graph, product.node))) for product in chosen]


def by_worth(found: Sequence[Sensitivity]) -> list[Product]:
    """Products by what float brings for each multiply-add, best first; without those that it does not help."""
    helped = [each for each in found if each.gain > 0]
    ordered = sorted(helped, key=lambda each: each.gain / max(each.product.multiply_adds, 1), reverse=True)
    return [each.product for each in ordered]


@dataclass(frozen=True, slots=True)
class Step:
    """One mixture that was tried.

    Attributes:
        floated: product that joined those in float; None for the first.
        share: of the multiply-adds in int8.
        fidelity: on held-out frames.
    """

    floated: Product | None
    share: float
    fidelity: Fidelity


def mix(
    chosen: Sequence[Product],
    kept: Sequence[Product],
    ranked: Sequence[Product],
    judge: Callable[[Sequence[Product]], Fidelity],
    *,
    max_drop: float,
    least_int8: float,
) -> tuple[list[Product], list[Step]]:
    """Turn products back to float one by one, by rank, until no more than `max_drop` is lost.

    A product that would take the share of int8 below `least_int8` is passed over.

    Args:
        chosen, kept: products in int8 and in float so far.
        ranked: of `chosen`, whom float helps most first.
        judge: what is lost with these products in int8.

    Returns:
        The products in int8 of the mixture that holds, and every mixture that was tried.

    Raises:
        GateError: no mixture holds; says what the best one reached.
    """
    inside, floats = list(chosen), list(kept)
    steps = [Step(None, share_of(inside, floats), judge(inside))]
    for product in ranked:
        if steps[-1].fidelity.drop <= max_drop:
            break
        rest = [other for other in inside if other != product]
        if not rest or share_of(rest, [*floats, product]) < least_int8:
            continue
        inside, floats = rest, [*floats, product]
        steps.append(Step(product, share_of(inside, floats), judge(inside)))
    if steps[-1].fidelity.drop <= max_drop and steps[-1].share >= least_int8:
        return inside, steps
    raise GateError(_said(steps, max_drop, least_int8))


def _said(steps: Sequence[Step], max_drop: float, least_int8: float) -> str:
    best = min(steps, key=lambda step: step.fidelity.drop)
    return (
        f"no mixture of int8 and float keeps within {max_drop:g} points with {least_int8:.0%} of the "
        f"multiply-adds in int8. Of {len(steps)} that were tried the best loses {best.fidelity.drop:.2f} points "
        f"on {best.fidelity.frames} held-out frames with {best.share:.1%} in int8. Allow more with --max-drop, "
        "less int8 with --min-int8, or give more calibration images."
    )
