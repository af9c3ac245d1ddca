"""Probes: what is split, what is asked, and who is held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moase_edge.bench.experiments.probe import _halves, chosen_blocks, class_targets, held_out_accuracy


def test_halves_are_taken_per_token_and_add_up_to_all_channels() -> None:
    # Two tokens: the weaker half of (4, 1, -3, 0.5) is 1 and 0.5, of (0, 8, 2, -6) it is 0 and 2.
    x = torch.tensor([[[[4.0, 1.0, -3.0, 0.5], [0.0, 8.0, 2.0, -6.0]]]])
    halves = _halves(x)
    assert halves["weaker half"].tolist() == [[[0.0, 0.5, 1.0, 0.25]]]
    assert halves["stronger half"].tolist() == [[[2.0, 4.0, -1.5, -3.0]]]
    torch.testing.assert_close(halves["weaker half"] + halves["stronger half"], halves["all channels"])


def test_blocks_run_from_the_first_to_the_last() -> None:
    assert chosen_blocks(12) == [0, 2, 4, 7, 9, 11]
    assert chosen_blocks(4) == [0, 1, 2, 3]


def test_the_class_is_asked_where_there_are_pictures_of_it_else_whether_it_is_an_animal() -> None:
    pictures = np.arange(8, dtype=np.int64)
    several = np.array([0, 1] * 4, dtype=np.int64)
    assert class_targets(several, pictures, 10)["class"] is several
    lone = np.array([0, 100, 397, 398, 500, 999, 3, 700], dtype=np.int64)
    assert class_targets(lone, pictures, 1000)["animal or not"].tolist() == [1, 1, 1, 0, 0, 0, 1, 0]
    assert class_targets(lone, pictures, 1200) == {}
    # Four frames of one picture are not four pictures of its class.
    assert class_targets(np.array([0] * 4 + [1] * 4), np.array([0] * 4 + [1] * 4), 10) == {}


def test_a_probe_reads_what_is_there_and_learns_no_picture_by_heart() -> None:
    rng = np.random.default_rng(0)
    pictures = np.repeat(np.arange(40, dtype=np.int64), 5)
    told = np.tile(np.arange(5, dtype=np.int64), 40)
    features = rng.standard_normal((200, 8)).astype(np.float32)
    features[np.arange(200), told] += 4
    assert held_out_accuracy(features, told, pictures, seed=0) > 80
    # Every picture has a mark of its own and an answer at random: knowing the marks helps nobody with others.
    marks = np.eye(40, dtype=np.float32)[pictures]
    at_random = np.repeat(rng.integers(0, 2, 40), 5)
    assert held_out_accuracy(marks, at_random, pictures, seed=0) == pytest.approx(50, abs=25)
    assert held_out_accuracy(features, told, pictures, 1) == held_out_accuracy(features, told, pictures, 1)
