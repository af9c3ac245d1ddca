"""What an experiment is: methods to compare, and what is made of their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moase_edge.bench.bench_report import BenchReport
from moase_edge.config.bench import DEFAULT_CORRUPTIONS
from moase_edge.report.tables import Table


@dataclass(frozen=True, slots=True)
class Study:
    """What an experiment found.

    Attributes:
        plain: what is drawn, as plain data.
        table: the same to read.
        draw: writes the figure to a path.
        about: the figure in a sentence, for those who cannot see it.
    """

    plain: Mapping[str, Any]
    table: Table
    draw: Callable[[Path], None]
    about: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """A preset of a benchmark, and the question it answers.

    Attributes:
        question: in one sentence.
        methods: by name, beside the source; METHODS or VARIANTS.
        study: makes the figure's data of the results and the folder they lie in.
        protocols: by name.
        corruptions: the domains, where none are named.
        steers: whether a method makes use of an engine that can be steered.
    """

    question: str
    methods: tuple[str, ...]
    study: Callable[[BenchReport, Path], Study]
    protocols: tuple[str, ...] = ("continual",)
    corruptions: tuple[str, ...] = DEFAULT_CORRUPTIONS
    steers: bool = False
