"""A run of fakes that goes on until a test ends it, served on a loopback port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from time import monotonic, perf_counter_ns, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.frames.frame import Frame
from moase_edge.frames.source import Source, SourceCounts
from moase_edge.runtime.method import Prediction
from moase_edge.runtime.pipeline import Pipeline
from moase_edge.runtime.stages import Stages
from moase_edge.runtime.web.address import WebAddress, listen
from moase_edge.runtime.web.live import Live
from moase_edge.runtime.web.server import WebServer
from tests.runtime.fakes import CLASSES, pipeline_of
from tests.runtime.stateful import CountingMethod, snapshots_in

LABELS = ["car", "person", "bottle"]
PATIENCE_S = 20.0


class EndlessSource(Source):
    """A frame each few milliseconds until it is told to stop: grey of a level that rises, or large noise."""

    def __init__(self, *, pause_s: float = 0.01, noise: bool = False) -> None:
        self.name, self.live, self.length, self.counts = "endless", True, None, SourceCounts()
        self.trouble: str | None = None
        self.ended, self.paused = threading.Event(), threading.Event()
        self._pause_s = pause_s
        self._noise = np.random.default_rng(0).integers(0, 255, (960, 960, 3), np.uint8) if noise else None

    def frames(self) -> Iterator[Frame]:
        index = 0
        while not self.ended.wait(self._pause_s):
            if self.paused.is_set():
                continue
            image = (
                np.full((48, 64, 3), 10 + index * 3 % 240, dtype=np.uint8) if self._noise is None else self._noise
            )
            self.counts.count(image, converted=False)
            yield Frame(image, index, perf_counter_ns())
            index += 1

    def close(self) -> None:
        self.ended.set()


class SureMethod(CountingMethod):
    """Answers with class (frames so far) % 3, the frozen model with class 0; counts what it learned from."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0
        self.rollbacks = 2

    def predict(self, images: NDArray[np.float32], stages: Stages) -> Prediction:
        with stages.timed("engine"):
            logits = 4 * np.eye(CLASSES, dtype=np.float32)[[self._asked % CLASSES]]
        self._asked += 1
        return Prediction(logits, 2 * np.eye(CLASSES, dtype=np.float32)[[0]], np.ones(1, dtype=bool), memory=[])

    def learn(self, prediction: Prediction) -> dict[str, float]:
        self.learned += 1
        return {"feature_shift": 0.5, "domain": 1.0}

    def counts(self) -> dict[str, int]:
        return {"domains_found": 1, "rollbacks": self.rollbacks}


@dataclass
class Watched:
    """A run that is served.

    Attributes:
        thread: in which the run goes on.
    """

    pipeline: Pipeline
    source: EndlessSource
    live: Live
    server: WebServer
    address: WebAddress
    thread: threading.Thread
    failures: list[BaseException] = field(default_factory=list)

    @property
    def method(self) -> SureMethod:
        assert isinstance(self.pipeline.method, SureMethod)
        return self.pipeline.method

    def request(
        self, path: str, *, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by name in lower case, body."""
        connection, answer = self.opened(path, method=method, body=body, headers=headers)
        try:
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def opened(
        self, path: str, *, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[HTTPConnection, HTTPResponse]:
        """A request whose body is not read yet."""
        connection = HTTPConnection("127.0.0.1", self.address.port, timeout=PATIENCE_S)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, body=data, headers=headers or {})
        return connection, connection.getresponse()

    def json(self, path: str, **options: Any) -> Any:
        return json.loads(self.request(path, **options)[2])

    def press(self, action: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and answer of a button."""
        status, _, told = self.request(f"/api/v1/controls/{action}", method="POST", body=body, **options)
        return status, json.loads(told)

    def end(self) -> None:
        """End the run."""
        self.source.ended.set()
        self.thread.join(PATIENCE_S)


def eventually(true: Any, what: str = "it") -> None:
    """Wait until a condition holds."""
    until_s = monotonic() + PATIENCE_S
    while not true():
        assert monotonic() < until_s, f"{what} did not happen"
        sleep(0.02)


@contextmanager
def watched(
    folder: Path,
    *,
    adapt: str = "every",
    state: bool = True,
    token: str | None = None,
    noise: bool = False,
) -> Iterator[Watched]:
    """A run of fakes in a thread, served until the block ends; with `state`, it keeps snapshots in the folder."""
    method = SureMethod()
    source = EndlessSource(noise=noise)
    pipeline = pipeline_of(method, adapt=adapt, labels=LABELS)
    pipeline.facts.update(artifact="artifacts/fake", engine="fake")
    live, address = Live(pipeline, source), listen("127.0.0.1:0", token)
    pipeline.on_batch = live.learned
    if state:
        pipeline.controls.snapshots = snapshots_in(folder / "state", method)
        pipeline.controls.snapshots.begin(source)

    def run() -> None:
        try:
            for result in pipeline.run(source):
                live.answered(result)
            live.ended = "the source ended"
            pipeline.controls.end()
        except BaseException as exc:
            run_of.failures.append(exc)

    with ExitStack() as stack:
        server = stack.enter_context(WebServer(live, address))
        run_of = Watched(pipeline, source, live, server, address, threading.Thread(target=run, daemon=True))
        stack.callback(run_of.end)
        run_of.thread.start()
        eventually(lambda: live.newest is not None, "an answer")
        yield run_of
        assert run_of.failures == []
