"""Which precisions an artifact gets: built, held to parity with fp32, and where it can be, measured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from moase_edge.artifact.calibration import CALIBRATION_FILE
from moase_edge.artifact.manifest import EngineEntry, Precision
from moase_edge.calib.engine_parity import Reference
from moase_edge.calib.evidence import evidence_of
from moase_edge.calib.representative import Representative
from moase_edge.calib.twin import GRAPH_FILE, graph_file
from moase_edge.config.calib import QuantiseSettings, SearchSettings
from moase_edge.config.names import LowerPrecision
from moase_edge.config.precision import PrecisionSettings
from moase_edge.engines.timing import Measured, fastest, measure
from moase_edge.errors import CalibrationError, GateError
from moase_edge.export.candidates import Candidate, half_candidate, int8_candidate, open_here

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """The graphs that an artifact keeps.

    Attributes:
        graphs: the manifest's entries, the one to run first.
        evidence: for parity.json, by precision, of those that were dropped too.
        undecided: which one is the fastest is measured at the first run on the device.
    """

    graphs: tuple[EngineEntry, ...]
    evidence: dict[str, Any] = field(default_factory=dict)
    undecided: bool = False


class PrecisionBench:
    """Builds candidates and settles which are kept.

    Args:
        folder: of the artifact that is being built.
        opset: of the fp32 graph.
        reference: of the fp32 engine.
        settings: thresholds and timing.
        exact: the fp32 graph; None for the one in `folder`.
        calibration: frames for int8's ranges; None without.
        quantise: settings of int8.
        announce: is told what comes now.
    """

    def __init__(
        self,
        folder: Path,
        opset: int,
        reference: Reference,
        settings: PrecisionSettings,
        *,
        exact: Path | None = None,
        calibration: Representative | None = None,
        quantise: QuantiseSettings | None = None,
        announce: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._reference = reference
        self._settings = settings
        self._calibration = calibration
        self._quantise = quantise or QuantiseSettings()
        self._announce = announce
        self._graph = exact or folder / GRAPH_FILE
        self._exact = EngineEntry(file=self._graph.name, opset=opset)

    def asked(self, precision: LowerPrecision) -> Settled:
        """The precision that was asked for, and fp32 behind it.

        Raises:
            GateError: parity with fp32 does not hold.
            CalibrationError: int8's frames cannot be used.
        """
        candidate = self._built(precision)
        if not candidate.parity.passed:
            raise GateError(
                f"parity of {precision} with fp32 on {self._reference.title} does not hold: "
                f"{'; '.join(candidate.comparison.failures)}. Nothing was written. "
                "Take another precision, or --precision auto, which keeps what holds."
            )
        return Settled((self._entry(candidate), self._exact), {precision: _evidence(candidate)})

    def undecided(self, precisions: Sequence[LowerPrecision]) -> Settled:
        """All that hold parity, fp32 first, for a device that will measure them."""
        candidates, evidence = self._holding(precisions)
        return Settled((self._exact, *map(self._entry, candidates)), evidence, undecided=True)

    def fastest(self, precisions: Sequence[LowerPrecision]) -> Settled:
        """Of those that hold parity the fastest one here, and fp32."""
        candidates, evidence = self._holding(precisions)
        entries: dict[Precision, EngineEntry] = {
            "fp32": self._exact,
            **{each.precision: self._entry(each) for each in candidates},
        }
        self._announce(f"measuring {', '.join(entries)}")
        measured = self._measured(list(entries))
        chosen = fastest({name: found.latency_ms for name, found in measured.items()}, tie=self._settings.tie)
        for precision, found in measured.items():
            entries[precision] = entries[precision].model_copy(update=asdict(found))
            evidence.setdefault(precision, {}).update(asdict(found))
        for candidate in candidates:
            if candidate.precision != chosen:
                reason = f"{chosen} is faster here" if candidate.precision in measured else "it cannot run here"
                self._drop(candidate, evidence, reason)
        return Settled(tuple(entries[precision] for precision in dict.fromkeys((chosen, "fp32"))), evidence)

    def _built(self, precision: LowerPrecision) -> Candidate:
        self._announce(f"building {precision} and checking its parity with fp32")
        thresholds = self._settings.thresholds[precision]
        if precision != "int8":
            return half_candidate(precision, self._graph, self._folder, self._reference, thresholds)
        if self._calibration is None:
            raise CalibrationError("int8 takes its ranges from frames: name some hundred with --calib-data.")
        return int8_candidate(
            self._graph,
            self._folder,
            self._reference,
            thresholds,
            chosen=self._calibration,
            settings=self._quantise,
            hold_out=SearchSettings().hold_out,
        )

    def _holding(self, precisions: Sequence[LowerPrecision]) -> tuple[list[Candidate], dict[str, Any]]:
        """Candidates that hold parity, and the evidence on all; the graphs of the others are removed."""
        holding, evidence = [], dict[str, Any]()
        for precision in precisions:
            try:
                candidate = self._built(precision)
            except CalibrationError as exc:
                logger.warning("%s is left out: %s", precision, exc)
                evidence[precision] = {"kept": False, "reason": str(exc)}
                continue
            evidence[precision] = _evidence(candidate)
            if candidate.parity.passed:
                holding.append(candidate)
            else:
                self._drop(candidate, evidence, "parity with fp32 does not hold")
        return holding, evidence

    def _drop(self, candidate: Candidate, evidence: dict[str, Any], reason: str) -> None:
        of_int8 = [CALIBRATION_FILE] if candidate.precision == "int8" else []
        for name in (candidate.file, *of_int8):
            (self._folder / name).unlink(missing_ok=True)
        evidence[candidate.precision].update(kept=False, reason=reason)
        logger.info("%s is dropped: %s", candidate.precision, reason)

    def _measured(self, precisions: Sequence[Precision]) -> dict[Precision, Measured]:
        settings = self._settings
        return measure(
            {precision: partial(open_here, self._path(precision), precision) for precision in precisions},
            self._reference.frames[0],
            rounds=settings.rounds,
            warm_up=settings.warm_up,
            seconds=settings.seconds,
        )

    def _path(self, precision: Precision) -> Path:
        return self._graph if precision == "fp32" else self._folder / graph_file(precision)

    def _entry(self, candidate: Candidate) -> EngineEntry:
        return self._exact.model_copy(
            update={"file": candidate.file, "precision": candidate.precision, "parity": candidate.parity}
        )


def _evidence(candidate: Candidate) -> dict[str, Any]:
    return evidence_of(candidate.comparison, candidate.parity.measured_on, candidate.form)
