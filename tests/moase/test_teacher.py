"""The exponential moving average."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moase_edge.moase.teacher import half_life, make_teacher, update_teacher


def test_average_by_hand() -> None:
    teacher, student = (
        [torch.tensor([1.0, 2.0]), torch.tensor(0.0)],
        [torch.tensor([3.0, -2.0]), torch.tensor(8.0)],
    )
    update_teacher(teacher, student, 0.75)
    assert [weight.tolist() for weight in teacher] == [[1.5, 1.0], 2.0]
    assert [weight.tolist() for weight in student] == [[3.0, -2.0], 8.0]


def test_published_alpha_moves_18_percent_in_200_updates() -> None:
    teacher = [torch.zeros(1, dtype=torch.float64)]
    for _ in range(200):
        update_teacher(teacher, [torch.ones(1, dtype=torch.float64)], 0.999)
    assert float(teacher[0]) == pytest.approx(1 - 0.999**200)
    assert float(teacher[0]) == pytest.approx(0.18, abs=0.005)


def test_equal_weights_stay_equal_bit_for_bit() -> None:
    student = [torch.rand(1000, generator=torch.Generator().manual_seed(0))]
    teacher = [student[0].clone()]
    update_teacher(teacher, student, 0.999)
    assert torch.equal(teacher[0], student[0])


def test_half_life_of_the_published_alpha_is_693_updates() -> None:
    assert half_life(0.999) == pytest.approx(692.8, abs=0.05)
    assert half_life(0.5) == 1


def frozen_but_for_the_last() -> nn.Sequential:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval().requires_grad_(False)
    network[2].requires_grad_(True)
    return network


def test_teacher_shares_what_is_frozen_and_owns_what_is_trained() -> None:
    student = frozen_but_for_the_last()
    teacher = make_teacher(student)
    for name, weight in student.named_parameters():
        same_storage = teacher.get_parameter(name).data_ptr() == weight.data_ptr()
        assert same_storage == (not weight.requires_grad), name
        assert torch.equal(teacher.get_parameter(name), weight)
    assert all(a.data_ptr() == b.data_ptr() for a, b in zip(teacher.buffers(), student.buffers(), strict=True))


def test_teacher_needs_no_gradient_and_leaves_the_student_trainable() -> None:
    student = frozen_but_for_the_last()
    teacher = make_teacher(student)
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert [weight.requires_grad for weight in student.parameters()] == [False] * 4 + [True] * 2
    assert not teacher.training


def test_change_of_the_student_does_not_reach_the_teacher() -> None:
    student = frozen_but_for_the_last()
    teacher = make_teacher(student)
    before = teacher.get_parameter("2.weight").clone()
    with torch.no_grad():
        student.get_parameter("2.weight").add_(1)
    assert torch.equal(teacher.get_parameter("2.weight"), before)
