"""What is said of adapting on one's own pictures: sentences, tables, JSON and a page."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from moase_edge.bench.site_figures import OnSite, RoundFigures
from moase_edge.metrics.verdict import LEAST_TURNED, Verdict
from moase_edge.report.files import write_json
from moase_edge.report.page import Section, write_page
from moase_edge.report.tables import Cell, Percent, Table, format_cell
from moase_edge.runtime.machine import describe_machine

SUMMARY = "on_site.json"
PAGE = "report.html"
FEW_PICTURES = 30
_MOST_ROWS = 100
_VERDICTS = {
    "helps": "Adapting helps on these pictures",
    "harms": "Adapting harms on these pictures",
    "unseen": "No difference can be seen on these pictures",
}


def verdict_sentences(outcome: OnSite) -> list[str]:
    """The verdict on the last round, what could have been seen where none was, and the first round."""
    last, first = outcome.last, outcome.first
    rounds = "in one round" if outcome.rounds == 1 else f"in round {outcome.rounds}"
    sentences = [
        f"{_VERDICTS[last.verdict.name]}: {rounds} adapting errs on {last.error.mean:.1f} % of {outcome.pictures} "
        f"pictures, the frozen model on {outcome.frozen_error:.1f} %: {_points(last.verdict)} percent points "
        "with the 95 % interval over pictures."
    ]
    if last.verdict.name == "unseen":
        sentences.append(_could_have_shown(last.verdict))
    if outcome.rounds > 1:
        sentences.append(
            f"In round 1, on pictures that were new to it, it errs on {first.error.mean:.1f} %: "
            f"{_points(first.verdict)} percent points."
        )
    return sentences


def cautions(outcome: OnSite) -> list[str]:
    """What makes the verdict weaker than it looks."""
    checks = (_few, _left_out, _doubtful_labels, _failures, _camera_order)
    return [sentence for check in checks for sentence in check(outcome)]


def on_site_table(outcome: OnSite) -> Table:
    """Frozen, and adapting in the first and the last round."""
    rounds = {figures.number: figures for figures in (outcome.first, outcome.last)}
    orders = len(outcome.by_order)
    none = math.nan
    frozen = (Percent(outcome.frozen_error), none, none, none, none, Percent(outcome.frozen_calibration_error))
    rows: list[tuple[Cell, ...]] = [("frozen", *frozen)]
    rows += [(f"adapting, round {number}", *_round_cells(figures)) for number, figures in rounds.items()]
    return Table(
        f"Error on {outcome.pictures} pictures of {outcome.classes} classes (%)",
        ("answers", "error", "against frozen", "changed", "mended", "broken", "ECE"),
        rows,
        f"Over {orders} order{'s' if orders > 1 else ''}, ± deviation; in brackets 95 % intervals over pictures. "
        "Changed: not the frozen model's answer; mended: now right; broken: now wrong.",
    )


def order_table(outcome: OnSite) -> Table:
    """Each order by itself."""
    rows = [
        (
            order.name,
            Percent(order.first_error),
            Percent(order.last_error),
            order.verdict.difference,
            order.updates,
            order.rollbacks,
            order.answered_frozen,
            sum(order.failures.values()),
        )
        for order in outcome.by_order
    ]
    heads = ("updates", "rollbacks", "frozen", "failures")
    columns = ("order", "round 1", f"round {outcome.rounds}", "against frozen", *heads)
    return Table("Error by order (%)", columns, rows, "Frozen: answers that are not from adapted weights.")


def cost_table(outcome: OnSite) -> Table:
    """Milliseconds a frame, frozen and adapting."""
    stages = ("engine", "sidecar", "update", "ms_per_frame")
    rows: list[tuple[Cell, ...]] = [
        (mode, *(ms.get(stage, math.nan) for stage in stages)) for mode, ms in outcome.measured.items()
    ]
    columns = ("answers", "engine", "sidecar", "update", "together")
    return Table("Time a frame (ms)", columns, rows, "Mean; without decoding and resizing, which both share.")


def turned_table(outcome: OnSite) -> Table | None:
    """The pictures that adapting turned right or wrong in any order; None where there is none."""
    turned = [picture for picture in outcome.by_picture if picture.last_wrong != picture.frozen_wrong]
    if not turned:
        return None
    rows: list[tuple[Cell, ...]] = [
        (picture.file, picture.label, picture.frozen_answer or "none", Percent(100.0 * picture.last_wrong))
        for picture in turned[:_MOST_ROWS]
    ]
    columns = ("file", "class", "frozen answer", f"wrong in round {outcome.rounds} (% of orders)")
    note = f"The first {_MOST_ROWS} of {len(turned)}." if len(turned) > _MOST_ROWS else ""
    return Table("Pictures that turned", columns, rows, note)


def write_on_site(out: Path, outcome: OnSite) -> Path:
    """Write `on_site.json` and `report.html` to the folder `out`, each whole or not at all.

    Whether `out` may be written is for the caller to find out first (`refuse_existing` with the marker `SUMMARY`).

    Returns:
        The page.

    Raises:
        StorageError: the folder cannot be written.
    """
    said = {"sentences": verdict_sentences(outcome), "cautions": cautions(outcome)}
    machine = describe_machine()
    plain = outcome.plain()
    measured = plain.pop("measured")
    write_json(out / SUMMARY, {**said, **plain, "machine": machine, "measured": measured})
    turned = turned_table(outcome)
    beware = [f"Beware: {sentence}" for sentence in said["cautions"]]
    sections = [
        Section("Verdict", paragraphs=[*said["sentences"], *beware]),
        Section("Error", tables=[on_site_table(outcome), order_table(outcome), *([turned] if turned else [])]),
        Section("Time", tables=[cost_table(outcome)]),
        Section("What was run", details={**outcome.artifact, **outcome.settings}),
        Section("Machine", details=machine),
    ]
    write_page(out / PAGE, f"{outcome.artifact['name']} on {outcome.settings['folder']}", sections)
    return out / PAGE


def _points(verdict: Verdict) -> str:
    return format_cell(verdict.difference)


def _could_have_shown(verdict: Verdict) -> str:
    """What so many pictures could have shown, and how many more it takes."""
    points = abs(verdict.difference.points)
    seen = f"{verdict.turned} of {verdict.pictures} pictures turned right or wrong"
    shown = f"a difference of about {verdict.visible:.1f} points would have shown"
    if verdict.needed is None:
        return f"{seen}; {shown}, one of a single point takes {100 * LEAST_TURNED} pictures or more."
    return f"{seen}; {shown}, one of {points:.2g} points takes about {_rough(verdict.needed):,} pictures."


def _rough(count: int) -> int:
    """Rounded up to two digits: nothing finer is known."""
    step = int(10 ** max(len(str(count)) - 2, 0))
    return -(-count // step) * step


def _round_cells(figures: RoundFigures) -> tuple[Cell, ...]:
    shares = (figures.changed, figures.mended, figures.broken, figures.calibration_error)
    return (figures.error, figures.verdict.difference, *map(Percent, shares))


def _few(outcome: OnSite) -> list[str]:
    if outcome.pictures >= FEW_PICTURES:
        return []
    return [f"{outcome.pictures} pictures are few; label 50 or more, of several hours, for a firmer answer."]


def _left_out(outcome: OnSite) -> list[str]:
    counts = [f"{count} {reason}" for reason, count in outcome.left_out.items()]
    return [f"pictures were left out: {', '.join(counts)}."] if counts else []


def _doubtful_labels(outcome: OnSite) -> list[str]:
    found = []
    if outcome.by_position:
        found.append(
            "the class folders bear other names than the model's classes and were taken for these in sorted "
            "order; see that they are."
        )
    if outcome.frozen_error >= outcome.commonest_error:
        found.append(
            f"the frozen model errs on {outcome.frozen_error:.1f} %, whoever always answers the commonest class "
            f"on {outcome.commonest_error:.1f} %; see that the labels are the model's."
        )
    return found


def _failures(outcome: OnSite) -> list[str]:
    orders, found = outcome.by_order, []
    if not any(order.updates for order in orders):
        found.append("no update was taken, so nothing was adapted.")
    failures: Counter[str] = Counter()
    for order in orders:
        failures.update(order.failures)
    if failures.total():
        reasons = ", ".join(f"{reason}: {count}" for reason, count in failures.items())
        frozen, answers = sum(order.answered_frozen for order in orders), outcome.pictures * outcome.rounds
        found.append(
            f"adapting failed ({reasons}), and {frozen} of {answers * len(orders)} answers are the frozen model's."
        )
    return found


def _camera_order(outcome: OnSite) -> list[str]:
    camera = outcome.by_order[0].verdict
    if camera.name in (outcome.verdict.name, "unseen"):
        return []
    return [
        f"in the camera's own order alone, which is what happens, adapting {camera.name}: "
        f"{_points(camera)} percent points."
    ]
