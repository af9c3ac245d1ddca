"""Snapshots while a run lasts: when they are written, what they survive, and how a run goes on from them."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from threading import Event

import pytest

from moase_edge.adapt.state_file import read_header
from moase_edge.errors import AdaptationError, ArtifactError, ConfigError, StorageError
from moase_edge.runtime import run_report
from moase_edge.runtime.session import prepare_report_folder, run_and_report
from moase_edge.runtime.snapshots import Position, Snapshots
from tests.runtime.fakes import ListSource, frames, pipeline_of
from tests.runtime.stateful import BINDING, CountingMethod, Disk, HandClock, snapshots_in


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than all else here; they have their own tests."""
    monkeypatch.setattr(run_report, "plots_missing", lambda: "There are no plots in this test.")


def run(
    folder: Path,
    method: CountingMethod,
    snapshots: Snapshots,
    *,
    count: int = 6,
    adapt: str = "every",
    start: Position | None = None,
    max_frames: int | None = None,
) -> ListSource:
    source = ListSource(frames(count))
    prepare_report_folder(folder / "report", force=True)
    run_and_report(
        pipeline_of(method, adapt=adapt),
        source,
        folder / "report",
        facts={},
        on_result=lambda result: None,
        snapshots=snapshots,
        start=start,
        max_frames=max_frames,
    )
    return source


def wait(snapshots: Snapshots) -> None:
    snapshots._wait()


def test_a_snapshot_is_written_when_its_time_has_come(tmp_path: Path) -> None:
    method, clock = CountingMethod(), HandClock()
    snapshots = snapshots_in(tmp_path, method, clock=clock)
    for second, expected in ((9, 0), (10, 1), (19, 1), (20, 2), (70, 3), (71, 3)):
        clock.now_s, method.learned = second, second
        snapshots.between(Position(second, second))
        wait(snapshots)
        assert snapshots.written == len(snapshots.folder.snapshots()) == expected
    assert read_header(snapshots.folder.snapshots()[0]).figures == {"learned": 70}


def test_the_end_of_a_run_writes_one_and_another_run_goes_on_from_there(tmp_path: Path) -> None:
    first, second = CountingMethod(), CountingMethod()
    run(tmp_path, first, snapshots_in(tmp_path / "state", first), max_frames=4)
    snapshots = snapshots_in(tmp_path / "state", second)
    start = snapshots.resume(ListSource(frames(6)))
    assert (start, second.learned) == (Position(4, 4), 4)
    run(tmp_path, second, snapshots, start=start)
    assert second.learned == 6
    assert [levels for what, levels in second.log if what == "predict"] == [[1], [2]]
    header = read_header(snapshots.folder.snapshots()[0])
    assert (header.frames, header.position and header.position.ended) == (6, True)
    assert snapshots.counts() == {
        "folder": str(tmp_path / "state"),
        "snapshots_written": 1,
        "snapshots_failed": 0,
        "snapshots_passed_over": 0,
        "resumed_from": "snapshot-000001.safetensors",
        "resumed_at_frame": 4,
    }


def test_every_nth_goes_on_counting_where_it_stopped(tmp_path: Path) -> None:
    whole, first, second = CountingMethod(), CountingMethod(), CountingMethod()
    run(tmp_path, whole, snapshots_in(tmp_path / "whole", whole), count=9, adapt="every-3")
    run(tmp_path, first, snapshots_in(tmp_path / "parts", first), count=9, adapt="every-3", max_frames=4)
    snapshots = snapshots_in(tmp_path / "parts", second)
    start = snapshots.resume(ListSource(frames(9)))
    run(tmp_path, second, snapshots, count=9, adapt="every-3", start=start)
    assert [*first.log, *second.log] == whole.log


@pytest.mark.parametrize("case", ["ended", "other length", "live"])
def test_only_what_was_learned_goes_on_where_the_source_is_not_the_same_or_was_read(
    case: str, tmp_path: Path
) -> None:
    method = CountingMethod()
    run(tmp_path, method, snapshots_in(tmp_path / "state", method), max_frames=None if case == "ended" else 3)
    source = ListSource(frames(8 if case == "other length" else 6))
    source.live = case == "live"
    other = CountingMethod()
    assert snapshots_in(tmp_path / "state", other).resume(source) == Position()
    assert other.learned == method.learned > 0


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def test_a_damaged_snapshot_is_told_and_the_one_before_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    method = CountingMethod()
    snapshots = snapshots_in(tmp_path, method)
    for learned in (1, 2, 3):
        method.learned = learned
        snapshots.take(Position(learned, learned)).result(5)
    damage(snapshots.folder.snapshots()[0])
    other = CountingMethod()
    again = snapshots_in(tmp_path, other)
    again.resume(ListSource(frames(1)))
    assert (other.learned, again.passed_over, again.resumed_from) == (2, 1, "snapshot-000002.safetensors")
    assert "snapshot-000003.safetensors is no snapshot that can be used" in caplog.text


def test_a_state_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    method = CountingMethod()
    snapshots = snapshots_in(tmp_path, method)
    for learned in (1, 666):
        method.learned = learned
        snapshots.take(Position()).result(5)
    other = CountingMethod()
    snapshots_in(tmp_path, other).resume(ListSource(frames(1)))
    assert other.learned == 1


def test_with_no_usable_snapshot_a_run_starts_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    method = CountingMethod()
    snapshots = snapshots_in(tmp_path, method)
    snapshots.take(Position(1, 1)).result(5)
    damage(snapshots.folder.snapshots()[0])
    assert snapshots_in(tmp_path, CountingMethod()).resume(ListSource(frames(1))) == Position()
    assert "starts anew" in caplog.text


def test_a_snapshot_of_other_settings_is_refused_with_what_differs(tmp_path: Path) -> None:
    method = CountingMethod()
    snapshots_in(tmp_path, method).take(Position(1, 1)).result(5)
    other = BINDING.model_copy(update={"settings": {"lr": 0.2}, "identity": "b" * 64})
    with pytest.raises(ArtifactError, match=r"identity aaaaaaaaaaaa..., not bbb(.|\n)*lr: 0.1, not 0.2") as caught:
        snapshots_in(tmp_path, CountingMethod(), binding=other).resume(ListSource(frames(1)))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_nothing_costs_one_warning_and_recovers(
    fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    method, clock, disk = CountingMethod(), HandClock(), Disk(monkeypatch)
    snapshots = snapshots_in(tmp_path, method, clock=clock)
    for second in (10, 20, 30, 40, 50):
        clock.now_s = second
        disk.fault = None if second in (10, 50) else fault
        snapshots.between(Position(second, second))
        wait(snapshots)
    assert (snapshots.written, snapshots.failed) == (2, 3)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "no snapshot",
        "snapshots are written again",
    ]
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "snapshot-000001.safetensors",
        "snapshot-000002.safetensors",
    ]


def test_a_run_goes_on_to_its_end_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = CountingMethod()
    (tmp_path / "state").write_text("a file where the folder should be")
    snapshots = snapshots_in(tmp_path / "state", method)
    run(tmp_path, method, snapshots)
    assert (method.learned, snapshots.written, snapshots.failed) == (6, 0, 1)


def test_nothing_is_kept_of_a_learner_that_failed(tmp_path: Path) -> None:
    method = CountingMethod()
    method.failed = True
    snapshots = snapshots_in(tmp_path, method)
    snapshots.finish(Position(1, 1), ended=True)
    assert snapshots.folder.snapshots() == []
    with pytest.raises(AdaptationError, match="nothing to keep"):
        snapshots.take(Position(1, 1))


def test_nothing_is_written_amid_a_batch(tmp_path: Path) -> None:
    snapshots = snapshots_in(tmp_path, CountingMethod())
    snapshots.finish(None, ended=False)
    assert snapshots.folder.snapshots() == []


def test_rolling_back_again_goes_one_further(tmp_path: Path) -> None:
    method = CountingMethod()
    snapshots = snapshots_in(tmp_path, method)
    for learned in (1, 2, 3):
        method.learned = learned
        snapshots.take(Position(learned, learned)).result(5)
    method.learned = 9
    assert [(snapshots.roll_back(), method.learned) for _ in range(3)] == [
        ("snapshot-000003.safetensors", 3),
        ("snapshot-000002.safetensors", 2),
        ("snapshot-000001.safetensors", 1),
    ]
    assert [path.name for path in snapshots.folder.aside()] == [
        "snapshot-000003.safetensors",
        "snapshot-000002.safetensors",
    ]
    with pytest.raises(ConfigError, match="no snapshot to go back to"):
        snapshots.roll_back()
    assert (snapshots.roll_back("3"), method.learned) == ("snapshot-000003.safetensors", 3)


def test_a_rollback_that_fails_leaves_the_state(tmp_path: Path) -> None:
    method = CountingMethod()
    snapshots = snapshots_in(tmp_path, method)
    method.learned = 666
    snapshots.take(Position()).result(5)
    method.learned = 2
    with pytest.raises(AdaptationError, match="another shape"):
        snapshots.roll_back()
    assert method.learned == 2
    assert len(snapshots.folder.snapshots()) == 1


def test_a_copy_that_fails_neither_ends_the_answers_nor_costs_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    method, clock = CountingMethod(), HandClock()
    snapshots = snapshots_in(tmp_path / "state", method, clock=clock)

    def no_memory() -> object:
        clock.now_s += 100
        raise MemoryError("no memory for a copy.")

    monkeypatch.setattr(method, "state", no_memory)
    clock.now_s = -100
    snapshots._next_s = -100
    monkeypatch.setattr(snapshots, "begin", lambda source, start: None)
    run(tmp_path, method, snapshots)
    assert (method.learned, snapshots.written) == (6, 0)
    assert snapshots.failed >= 2
    assert [record.message.split(":")[0] for record in caplog.records].count("no snapshot") == 1
    assert (tmp_path / "report" / "summary.json").read_text().count("the source ended")


def test_after_resuming_a_rollback_goes_to_the_newest(tmp_path: Path) -> None:
    method = CountingMethod()
    first = snapshots_in(tmp_path, method)
    for learned in (1, 2):
        method.learned = learned
        first.take(Position(learned, learned)).result(5)
    snapshots = snapshots_in(tmp_path, method)
    snapshots.resume(ListSource(frames(3)))
    assert snapshots.roll_back() == "snapshot-000002.safetensors"


def test_once_more_was_learned_a_rollback_goes_to_the_same_snapshot_again(tmp_path: Path) -> None:
    method = CountingMethod()
    snapshots = snapshots_in(tmp_path, method)
    for learned in (1, 2):
        method.learned = learned
        snapshots.take(Position(learned, learned)).result(5)
    snapshots.roll_back()
    snapshots.answered(1, held=False)
    assert snapshots.roll_back() == "snapshot-000002.safetensors"
    snapshots.answered(1, held=True)
    assert snapshots.roll_back() == "snapshot-000001.safetensors"


def test_a_rollback_in_a_folder_that_cannot_be_written_leaves_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = CountingMethod()
    snapshots = snapshots_in(tmp_path, method)
    method.learned = 1
    snapshots.take(Position(1, 1)).result(5)
    method.learned = 5
    (tmp_path / "aside").write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        snapshots.roll_back()
    assert method.learned == 5


def frames_of_a_new_snapshot(snapshots: Snapshots) -> int:
    return read_header(snapshots.take(Position()).result(5)).frames


def test_frames_are_counted_over_runs_rollbacks_and_resets(tmp_path: Path) -> None:
    method = CountingMethod()
    snapshots = snapshots_in(tmp_path / "state", method, keep=9)
    run(tmp_path, method, snapshots, count=6)
    run(tmp_path, method, snapshots, count=3)
    assert [read_header(path).frames for path in snapshots.folder.snapshots()] == [9, 6]
    snapshots.roll_back("1")
    snapshots.answered(2, held=False)
    assert frames_of_a_new_snapshot(snapshots) == 8
    snapshots.forget()
    snapshots.answered(1, held=False)
    assert frames_of_a_new_snapshot(snapshots) == 1


def test_neither_taking_a_snapshot_nor_forgetting_waits_for_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, free = CountingMethod(), Event()
    snapshots = snapshots_in(tmp_path, method)
    write = snapshots.folder.write

    def slow(data: bytes) -> Path:
        assert free.wait(5)
        return write(data)

    monkeypatch.setattr(snapshots.folder, "write", slow)
    taken = [snapshots.take(Position(1, 1)), snapshots.take(Position(2, 2))]
    snapshots.forget()
    assert not any(done.done() for done in taken)
    free.set()
    assert [done.result(5).name for done in taken] == [
        "snapshot-000001.safetensors",
        "snapshot-000002.safetensors",
    ]
