"""Sensitivity finds the layer that was made to suffer, and a mixture keeps the budget or says what it reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from moase_edge.calib.fidelity import Fidelity, fidelity_of, run_graph
from moase_edge.calib.products import Product, load_graph
from moase_edge.calib.qdq import with_qdq
from moase_edge.calib.quantise import prepare
from moase_edge.calib.sensitivity import Sensitivity, by_worth, mix, sensitivities
from moase_edge.config.calib import QuantiseSettings
from moase_edge.errors import GateError
from tests.calib.graphs import tiny_frames, tiny_graph


def product(name: str, multiply_adds: int = 10) -> Product:
    return Product(name, "MatMul", "", ("x",), "w", multiply_adds)


def losing(points: float) -> Fidelity:
    return Fidelity(100, 1 - points / 100, None, None, points / 100)


A, B, D = product("a", 10), product("b", 30), product("d", 60)


def judge(losses: dict[str, float], inside: list[Product]) -> Fidelity:
    return losing(sum(losses[product.node] for product in inside))


@pytest.mark.parametrize(("tensor", "node"), [("hidden", "mix"), ("keys", "attend"), ("images", "conv")])
def test_the_layer_whose_range_is_spoiled_gains_most_in_float(tensor: str, node: str, tmp_path: Path) -> None:
    graph = load_graph(tiny_graph(tmp_path / "tiny.onnx"))
    settings, frames = QuantiseSettings(method="minmax", attention=True), tiny_frames(8)
    ready = prepare(graph, frames, settings)
    ranges = ready.ranges(settings)
    spoiled = {**ranges, tensor: 30 * ranges[tensor]}
    found = sensitivities(graph, spoiled, ready.chosen, frames, run_graph(graph, frames))
    gains = {each.product.node: each.gain for each in found}
    assert [each.product for each in found] == list(ready.chosen)
    assert max(gains, key=lambda name: gains[name]) == node
    assert gains["classify"] == 0  # behind the taps
    exact = with_qdq(graph, spoiled, [product.node for product in ready.chosen if product.node != node])
    error = fidelity_of(run_graph(exact, frames), run_graph(graph, frames), head=False).feature_error
    assert next(each for each in found if each.product.node == node).error_after == pytest.approx(error)


def test_products_are_ranked_by_what_float_brings_a_multiply_add() -> None:
    found = [Sensitivity(A, 0.5, 0.4), Sensitivity(B, 0.5, 0.3), Sensitivity(D, 0.5, 0.6)]
    assert by_worth(found) == [A, B]  # 0.1 / 10 before 0.2 / 30; float makes the last one worse


def test_a_budget_that_holds_at_once_leaves_everything_in_int8() -> None:
    inside, steps = mix([A, B, D], [], [B], lambda _: losing(0.5), max_drop=1, least_int8=0.8)
    assert inside == [A, B, D]
    assert [(step.floated, step.share) for step in steps] == [(None, 1.0)]


def test_products_go_back_to_float_by_rank_until_the_budget_holds() -> None:
    losses = {"a": 2.0, "b": 2.0, "d": 0.5}
    inside, steps = mix(
        [A, B, D], [], [A, B, D], lambda products: judge(losses, list(products)), max_drop=1, least_int8=0.5
    )
    assert inside == [D]
    assert [step.share for step in steps] == pytest.approx([1, 0.9, 0.6])
    assert steps[-1].fidelity.drop == pytest.approx(0.5)


def test_one_that_would_take_too_much_out_of_int8_is_passed_over() -> None:
    losses = {"a": 2.0, "b": 2.0, "d": 2.0}
    inside, _ = mix(
        [A, B, D], [], [D, A], lambda products: judge(losses, list(products)), max_drop=4.5, least_int8=0.8
    )
    assert inside == [B, D]


def test_what_stays_in_float_anyway_counts_in_the_share() -> None:
    _, steps = mix([A, B], [D], [], lambda _: losing(0), max_drop=1, least_int8=0.4)
    assert steps[0].share == pytest.approx(0.4)


def test_a_budget_that_no_mixture_meets_is_told_with_the_best_one() -> None:
    losses = {"a": 2.0, "b": 2.0, "d": 2.0}
    with pytest.raises(GateError, match=r"within 1 points.* Of 2 that were tried the best loses 4.00 points"):
        mix([A, B, D], [], [A], lambda products: judge(losses, list(products)), max_drop=1, least_int8=0.5)
    with pytest.raises(GateError, match=r"with 40.0% in int8"):
        mix([A, B], [D], [], lambda _: losing(0), max_drop=1, least_int8=0.8)
