"""Which classes were answered, in what share, how sure."""

from __future__ import annotations

from dataclasses import replace

from moase_edge.runtime.answers import AnswerCounter, AnsweredClass
from moase_edge.runtime.result import Result
from tests.runtime.test_record import result


def answer(prediction: int | None, confidence: float | None, label: str | None = None) -> Result:
    return replace(result(0, prediction), confidence=confidence, label=label)


def test_classes_come_by_count_with_share_and_mean_confidence() -> None:
    counter = AnswerCounter()
    for given in [answer(7, 0.5, "cat"), answer(2, 0.9), answer(7, 1.0, "cat"), answer(7, None, "cat")]:
        counter.add(given)
    assert counter.most_frequent(5) == [
        AnsweredClass(7, "cat", 3, 0.75, 0.75),
        AnsweredClass(2, None, 1, 0.25, 0.9),
    ]
    assert [found.name for found in counter.most_frequent(5)] == ["cat", "class 2"]


def test_of_equally_frequent_classes_the_lower_comes_first_and_only_so_many_are_given() -> None:
    counter = AnswerCounter()
    for index in (9, 3, 5, 5):
        counter.add(answer(index, None))
    assert [found.index for found in counter.most_frequent(2)] == [5, 3]
    assert counter.most_frequent(1)[0].mean_confidence is None
    assert len(counter) == 3


def test_what_is_no_answer_is_not_counted() -> None:
    counter = AnswerCounter()
    counter.add(answer(None, None))
    assert (len(counter), counter.most_frequent(3)) == (0, [])
