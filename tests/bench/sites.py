"""Pictures and methods whose every answer a test writes down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from moase_edge.artifact.preprocess_spec import PreprocessSpec
from moase_edge.bench.site_answers import Shown, show
from moase_edge.bench.site_figures import OnSite, compare
from moase_edge.bench.site_pictures import Site
from moase_edge.data.labelled import LabelledImage
from moase_edge.frames.preprocess import Preprocessor
from moase_edge.runtime.method import Prediction, Update
from moase_edge.runtime.stages import Stages

NAMES = ("cat", "dog", "owl")
PICTURES = 40
RIGHT = [place % 2 for place in range(PICTURES)]
"""The labels; one more, modulo 3, is a wrong answer."""


class Scripted:
    """Answers picture i (told by its grey level) in round r with `rounds[r][i]`; learning does nothing but count.

    Args:
        rounds: answers by round; the last one serves all further rounds.
        confidence: of each answer, roughly.
        fails: whether each step fails.
    """

    name = "scripted"

    def __init__(self, rounds: Sequence[Sequence[int]], *, confidence: float = 0.9, fails: bool = False) -> None:
        self.failures: dict[str, int] = {}
        self.rollbacks = 0
        self.seen: list[int] = []
        self._rounds = rounds
        self._top = float(np.log(confidence / (1 - confidence) * (len(NAMES) - 1)))
        self._fails = fails

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        with stages.timed("engine"):
            place = round(float(images[0, 0, 0, 0]) * 255)
        number = min(len(self.seen) // len(self._rounds[0]), len(self._rounds) - 1)
        self.seen.append(place)
        logits = np.zeros((1, len(NAMES)), dtype=np.float32)
        logits[0, self._rounds[number][place]] = self._top
        return Prediction(logits, None, np.array([not self._fails]), memory=place)

    def learn(self, prediction: Prediction) -> Update | None:
        if self._fails:
            self.failures["learner: ValueError"] = self.failures.get("learner: ValueError", 0) + 1
            return None
        # Once, in the last round, as a guard would.
        self.rollbacks = int(len(self.seen) >= len(self._rounds[0]) * len(self._rounds))
        return {"loss": 0.0}

    def close(self) -> None:
        """Nothing is held."""


def turned(mended: int = 0, broken: int = 0, *, wrong: int = 12) -> tuple[list[int], list[int]]:
    """Answers of the frozen model, wrong on the first `wrong` pictures, and others that mend and break some."""
    frozen = [(label + (place < wrong)) % 3 for place, label in enumerate(RIGHT)]
    other = list(frozen)
    for place in [*range(mended), *range(wrong, wrong + broken)]:
        other[place] = RIGHT[place] if place < wrong else (RIGHT[place] + 1) % 3
    return frozen, other


def site() -> Site:
    """Picture i has the grey level i."""
    spec = PreprocessSpec(height=4, width=4, crop_pct=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    frames = [
        LabelledImage(np.full((4, 4, 3), place, dtype=np.uint8), label, "site", place, float(place))
        for place, label in enumerate(RIGHT)
    ]
    files = tuple(f"{NAMES[label]}/{place:03}.png" for place, label in enumerate(RIGHT))
    return Site(frames, Preprocessor(spec), files, NAMES, {"undecodable": 0}, by_position=False)


def shown(
    frozen: Sequence[int],
    adapting: Callable[[], Scripted],
    *,
    seeds: Sequence[int] = (0,),
    rounds: int = 2,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Shown:
    """All answers to the site's pictures."""
    place = site()
    return show(
        Scripted([frozen]),
        adapting,
        place.frames,
        place.preprocessor,
        seeds=seeds,
        rounds=rounds,
        on_stage=on_stage,
    )


def outcome(answers: Shown, *, rounds: int = 2) -> OnSite:
    """The figures of these answers."""
    cost = {"frozen": {"engine": 2.0, "ms_per_frame": 2.0}}
    cost["adapting"] = {"engine": 2.5, "sidecar": 0.5, "update": 1.0, "ms_per_frame": 4.0}
    return compare(
        site(),
        answers,
        rounds=rounds,
        samples=500,
        settings={"folder": "kitchen", "rounds": rounds},
        artifact={"name": "small", "identity": "0" * 64},
        measured=cost,
    )


def outcome_of(mended: int, broken: int, *, first: tuple[int, int] = (0, 0)) -> OnSite:
    """An adapting model that mends and breaks so many pictures in round 2, and `first` in round 1."""
    frozen, last = turned(mended, broken)
    answers = [turned(*first)[1], last]
    return outcome(shown(frozen, lambda: Scripted(answers)))
