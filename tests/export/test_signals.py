"""A signal waits for the end of a block, and what its handler raises is raised there."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from moase_edge.config.plan import PlanSettings
from moase_edge.engines.tensorrt.flavour import find_flavour
from moase_edge.export.plan_builder import build_plan
from moase_edge.export.signals import signals_deferred
from tests.engines import tensorrt_stand_in


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with signals_deferred() as ended:
            assert not ended()
            signal.raise_signal(signal.SIGINT)
            done.append(ended())
    assert done == [True]


def test_a_signal_outlasts_the_error_that_cutting_short_brought() -> None:
    with pytest.raises(KeyboardInterrupt):
        with signals_deferred():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("cut short")


def test_handlers_are_put_back_and_an_ignored_signal_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        with signals_deferred() as ended:
            signal.raise_signal(signal.SIGHUP)
            assert not ended()
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_defers_nothing() -> None:
    found = []

    def enter() -> None:
        with signals_deferred() as ended:
            found.append(ended())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_build_is_cut_short_by_a_signal(steerable_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = tensorrt_stand_in.install(monkeypatch)
    parse = trt.OnnxParser.parse

    def parse_and_interrupt(parser: tensorrt_stand_in.OnnxParser, model: bytes) -> bool:
        signal.raise_signal(signal.SIGINT)
        return bool(parse(parser, model))

    monkeypatch.setattr(trt.OnnxParser, "parse", parse_and_interrupt)
    graph = (steerable_artifact / "backbone.onnx").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        build_plan(graph, find_flavour("tensorrt"), PlanSettings(), target=None)
