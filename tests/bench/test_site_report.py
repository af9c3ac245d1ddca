"""What is said of figures that are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from moase_edge.bench.site_figures import OnSite
from moase_edge.bench.site_report import (
    PAGE,
    SUMMARY,
    cautions,
    cost_table,
    on_site_table,
    order_table,
    turned_table,
    verdict_sentences,
    write_on_site,
)
from moase_edge.errors import StorageError
from moase_edge.report.tables import format_cell
from tests.bench.sites import PICTURES, Scripted, outcome, outcome_of, shown, turned


def one_round(mended: int, broken: int) -> OnSite:
    frozen, other = turned(mended, broken)
    return outcome(shown(frozen, lambda: Scripted([other]), rounds=1), rounds=1)


def test_help_is_said_with_both_errors_and_the_interval() -> None:
    sentences = verdict_sentences(outcome_of(10, 0))
    assert len(sentences) == 2
    assert sentences[0].startswith(
        "Adapting helps on these pictures: in round 2 adapting errs on 5.0 % of 40 pictures, the frozen model on "
        "30.0 %: -25.0 [-3"
    )
    assert sentences[0].endswith("percent points with the 95 % interval over pictures.")
    assert sentences[1] == (
        "In round 1, on pictures that were new to it, it errs on 30.0 %: 0.0 [-7.2, +7.2] percent points."
    )


def test_harm_is_said_and_one_round_is_enough() -> None:
    (sentence,) = verdict_sentences(one_round(0, 10))
    assert sentence.startswith("Adapting harms on these pictures: in one round adapting errs on 55.0 %")


@pytest.mark.parametrize(
    ("mended", "broken", "said"),
    [
        (
            0,
            0,
            "0 of 40 pictures turned right or wrong; a difference of about 15.0 points would have shown, one of a "
            "single point takes 600 pictures or more.",
        ),
        (
            2,
            0,
            "2 of 40 pictures turned right or wrong; a difference of about 15.0 points would have shown, one of 5 "
            "points takes about 120 pictures.",
        ),
    ],
)
def test_where_nothing_is_seen_it_is_said_what_could_have_been(mended: int, broken: int, said: str) -> None:
    sentences = verdict_sentences(one_round(mended, broken))
    assert sentences[0].startswith("No difference can be seen on these pictures")
    assert sentences[1:] == [said]


def test_the_table_holds_frozen_first_and_last_round() -> None:
    table = on_site_table(outcome_of(10, 2))
    rows = [[format_cell(cell) for cell in row] for row in table.rows]
    assert [row[0] for row in rows] == ["frozen", "adapting, round 1", "adapting, round 2"]
    assert table.columns == ("answers", "error", "against frozen", "changed", "mended", "broken", "ECE")
    assert rows[0][1:3] == ["30.0", "–"]  # noqa: RUF001
    assert rows[2][1] == "10.0 ± 0.0"
    assert rows[2][2].startswith("-20.0 [")
    assert rows[2][3:6] == ["30.0", "25.0", "5.0"]
    assert "40 pictures of 2 classes" in table.title
    assert len(on_site_table(one_round(1, 0)).rows) == 2


def test_each_order_has_its_row() -> None:
    table = order_table(outcome_of(10, 0))
    assert [row[0] for row in table.rows] == ["camera", "shuffled 0"]
    assert [format_cell(cell) for cell in table.rows[0][1:3]] == ["30.0", "5.0"]
    assert table.rows[0][4:] == (2 * PICTURES, 1, 0, 0)


def test_times_stand_beside_each_other() -> None:
    rows = [[format_cell(cell) for cell in row] for row in cost_table(outcome_of(0, 0)).rows]
    assert rows == [["frozen", "2.00", "–", "–", "2.00"], ["adapting", "2.50", "0.500", "1.00", "4.00"]]  # noqa: RUF001


def test_pictures_that_turned_are_listed_by_name() -> None:
    table = turned_table(outcome_of(1, 1))
    assert table is not None
    assert [[format_cell(cell) for cell in row] for row in table.rows] == [
        ["cat/000.png", "cat", "dog", "0.0"],
        ["cat/012.png", "cat", "cat", "100.0"],
    ]
    assert turned_table(outcome_of(0, 0)) is None


def test_a_sound_measurement_has_no_cautions() -> None:
    assert cautions(outcome_of(10, 0)) == []


def test_each_weakness_is_told() -> None:
    sound = outcome_of(10, 0)
    weak = {
        "pictures": (12, "12 pictures are few"),
        "left_out": ({"undecodable": 2, "unlabelled": 5}, "left out: 2 undecodable, 5 unlabelled"),
        "by_position": (True, "sorted order"),
        "commonest_error": (20.0, "the frozen model errs on 30.0 %, whoever always answers the commonest class"),
    }
    for field, (value, words) in weak.items():
        (caution,) = cautions(replace(sound, **{field: value}))
        assert words in caution


def test_failures_are_told_with_their_reasons() -> None:
    frozen, _ = turned()
    found = cautions(outcome(shown(frozen, lambda: Scripted([frozen], fails=True))))
    assert found == [
        "no update was taken, so nothing was adapted.",
        "adapting failed (learner: ValueError: 160), and 160 of 160 answers are the frozen model's.",
    ]


def test_a_camera_s_order_that_contradicts_is_told() -> None:
    frozen, broken = turned(0, 8)
    mended = turned(12, 0)[1]
    scripts = iter([[broken], [mended], [mended], [mended]])
    found = outcome(shown(frozen, lambda: Scripted(next(scripts)), seeds=(0, 1, 2)))
    assert found.verdict.name == "helps"
    (caution,) = cautions(found)
    assert caution.startswith("in the camera's own order alone, which is what happens, adapting harms: +20.0 [")


def test_the_report_is_written_with_machine_and_times_apart(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report"
    found = outcome_of(10, 0)
    assert write_on_site(out, found) == out / PAGE
    assert sorted(path.name for path in out.iterdir()) == sorted([PAGE, SUMMARY])
    plain = json.loads((out / SUMMARY).read_text())
    assert list(plain) == ["sentences", "cautions", "settings", "artifact", "results", "machine", "measured"]
    assert plain["sentences"] == verdict_sentences(found)
    assert plain["results"] == found.plain()["results"]
    assert "ms_per_frame" not in json.dumps(plain["results"])
    assert plain["machine"]["cores"] >= 1
    page = (out / PAGE).read_text()
    assert "<title>small on kitchen</title>" in page
    assert "Adapting helps on these pictures" in page
    assert page.count("<table>") == 4


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        write_on_site(tmp_path / "file" / "below", outcome_of(0, 0))
