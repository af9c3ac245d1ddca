"""The server beside a run that goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch  # noqa: F401 - a snapshot imports it, which would pass for a slow button

from moase_edge.runtime.web.answers import Results, Status
from moase_edge.runtime.web.app import WebApp
from moase_edge.runtime.web.openapi import ACTIONS
from tests.runtime.web.watched import Watched, eventually, watched

TOKEN = "0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Shared by tests that leave it as it was."""
    with watched(tmp_path_factory.mktemp("run")) as run:
        yield run


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("secret"), state=False, token=TOKEN) as run:
        yield run


def test_the_status_says_what_is_answered_frozen_beside_adapted(run: Watched) -> None:
    status = Status.model_validate(run.json("/api/v1/status"))
    assert (status.phase, status.held, status.frozen_since_s) == ("running", False, None)
    assert status.newest is not None
    assert status.newest.label in ("car", "person", "bottle")
    assert status.newest.frozen_label == "car"
    assert status.newest.confidence == pytest.approx(np.exp(4) / (np.exp(4) + 2), rel=1e-5)
    assert status.newest.frozen_confidence == pytest.approx(np.exp(2) / (np.exp(2) + 2), rel=1e-5)
    assert status.drift == {"domain": 1.0, "feature_shift": 0.5}
    assert status.counts["frames"] > 0
    assert status.source.counts["delivered"] >= status.counts["frames"]


def test_results_are_those_after_a_number_in_order(run: Watched) -> None:
    eventually(lambda: len(run.json("/api/v1/results")["results"]) > 5)
    results = Results.model_validate(run.json("/api/v1/results?most=5")).results
    numbers = [result.number for result in results]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert results[0].update == {"domain": 1.0, "feature_shift": 0.5}
    assert {"engine", "update", "total", "age"} <= set(results[0].timings_ms)
    later = run.json(f"/api/v1/results?after={numbers[-1]}")["results"]
    assert all(result["number"] > numbers[-1] for result in later)


@pytest.mark.parametrize("query", ["after=x", "after=-1", "most=nan", "most=1e300"])
def test_a_number_that_is_none_is_refused(run: Watched, query: str) -> None:
    status, _, body = run.request(f"/api/v1/results?{query}")
    assert status == 422
    assert "must be a number" in json.loads(body)["error"]


def test_pictures_change_and_carry_the_answer_to_their_frame(run: Watched) -> None:
    _, headers, first = run.request("/api/v1/picture")
    number = int(headers["x-picture"])
    status, later, second = run.request(f"/api/v1/picture?after={number}")
    assert status == 200
    assert int(later["x-picture"]) == number + 1
    answers = [json.loads(one["x-answer"]) for one in (headers, later)]
    assert answers[1]["frame"] > answers[0]["frame"]
    for answer, data in zip(answers, (first, second), strict=True):
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert abs(picture.mean() - (10 + answer["frame"] * 3 % 240)) < 2  # the level of that very frame


def test_the_stream_gives_one_jpeg_after_another(run: Watched) -> None:
    connection, answer = run.opened("/stream.mjpg")
    try:
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        data = b""
        while data.count(b"--frame") < 3:
            data += answer.read1(4096)
        assert data.count(b"\xff\xd8\xff") >= 2
    finally:
        connection.close()


def test_metrics_are_in_prometheus_form_and_agree_with_the_status(run: Watched) -> None:
    before = run.json("/api/v1/status")["counts"]["frames"]
    _, headers, body = run.request("/metrics")
    after = run.json("/api/v1/status")["counts"]["frames"]
    text = body.decode()
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert text.endswith("\n")
    samples: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [-+0-9.einfa]+', line), line
            name, _, value = line.rpartition(" ")
            samples[name] = float(value)
    typed = set(re.findall(r"# TYPE ([a-z_]+) (?:counter|gauge|histogram)", text))
    assert {re.sub(r"(_bucket|_sum|_count)?(\{.*)?$", "", name) for name in samples} == typed
    assert before <= samples["moase_edge_frames_total"] <= after
    buckets = [
        samples[f'moase_edge_stage_duration_seconds_bucket{{stage="engine",le="{le}"}}']
        for le in ("0.001", "+Inf")
    ]
    assert 0 < buckets[0] <= buckets[1] == samples['moase_edge_stage_duration_seconds_count{stage="engine"}']
    assert samples['moase_edge_answers_total{origin="adapted"}'] > 0


def test_every_path_of_the_api_is_described_and_there_is_no_other(run: Watched) -> None:
    described = run.json("/openapi.json")
    assert described["openapi"] == "3.1.0"
    for path in described["paths"]:
        if "{" not in path and path != "/stream.mjpg":
            assert run.request(path)[0] in (200, 204), path
    routes = {route.path for route in WebApp(run.live, run.server.access).routes()}
    pages = {
        path for path in routes if path.startswith("/static/") or path in ("/", "/docs", "/login", "/openapi.json")
    }
    assert routes - pages == set(described["paths"])
    assert described["components"]["schemas"]["Status"]["properties"].keys() == Status.model_fields.keys()
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)))
    assert references <= set(described["components"]["schemas"])


def test_pages_name_nothing_that_lies_elsewhere(run: Watched) -> None:
    for path in ("/", "/docs", "/login"):
        status, headers, body = run.request(path)
        assert status == 200
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
        named = re.findall(r' (?:src|href|action)="([^"#]+)"', body.decode())
        assert named
        for name in named:
            assert name.startswith("/")
            assert run.request(name)[0] == 200 or name == "/login", name
    for name in ("view.js", "charts.js", "docs.js", "style.css"):
        assert re.findall(rb"[\"'`(](?:https?:)?//", run.request(f"/static/{name}")[2]) == []


def test_hold_resume_reset_happen_between_two_frames(run: Watched) -> None:
    status, told = run.press("hold")
    assert (status, told["action"]) == (200, "hold")
    assert "nothing is learned" in told["done"]
    assert run.method.held
    learned, frame = run.method.learned, run.json("/api/v1/status")["counts"]["frames"]
    eventually(lambda: run.json("/api/v1/status")["counts"]["frames"] > frame + 2)
    assert run.method.learned == learned
    assert run.press("hold") == (409, {"error": "hold: learning is on hold already."})
    assert run.press("resume")[0] == 200
    eventually(lambda: run.method.learned > learned)
    assert run.press("reset")[0] == 200


def test_snapshot_and_roll_back_to_the_newest_or_a_named_one(run: Watched) -> None:
    first = run.press("snapshot")[1]["done"].split()[-1]
    second = run.press("snapshot")[1]["done"].split()[-1]
    assert run.json("/api/v1/status")["snapshots"]["names"][:2] == [second, first]
    status, told = run.press("rollback", {"name": first})
    assert (status, told["done"]) == (200, f"back to {first}")
    assert run.json("/api/v1/status")["snapshots"]["names"][0] == first
    status, told = run.press("rollback", {"name": "99"})
    assert status == 409
    assert "99" in told["error"]


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("fly", None, 404),
        ("hold", {"name": "1"}, 422),
        ("rollback", {"nome": "1"}, 422),
        ("rollback", b"{", 422),
        ("rollback", b" " * 5000, 413),
    ],
)
def test_what_no_button_takes_is_refused(run: Watched, action: str, body: Any, status: int) -> None:
    got, told = run.press(action, body)
    assert got == status
    assert told["error"]


def test_a_path_that_there_is_not_is_an_error_as_every_other(run: Watched) -> None:
    status, _, body = run.request("/nosuch")
    assert status == 404
    assert json.loads(body)["error"].startswith("there is nothing at /nosuch")


def test_other_web_sites_press_no_button(run: Watched) -> None:
    assert run.press("hold", headers={"origin": "http://evil.example"})[0] == 403
    assert run.press("hold", headers={"host": "evil.example"})[0] == 421
    assert run.request("/api/v1/controls/hold")[0] == 405
    assert not run.method.held


def test_without_the_token_there_is_health_alone(secret: Watched) -> None:
    assert secret.request("/healthz")[0] == 200
    for path in ("/", "/api/v1/status", "/api/v1/picture", "/metrics", "/openapi.json"):
        assert secret.request(path)[0] == 401
        assert secret.request(path, headers=BEARER)[0] == 200
    assert secret.press("hold")[0] == 401
    assert "securitySchemes" in secret.json("/openapi.json", headers=BEARER)["components"]


def test_without_the_token_health_tells_nothing_of_the_source(secret: Watched) -> None:
    secret.source.trouble = "source lost: rtsp://10.0.0.7/door"
    try:
        assert secret.json("/healthz")["reason"] == "frames are not answered"
        assert secret.json("/healthz", headers=BEARER)["reason"] == secret.source.trouble
    finally:
        secret.source.trouble = None


def test_a_browser_logs_in_and_is_known_by_its_cookie(secret: Watched) -> None:
    led = secret.request("/", headers={"sec-fetch-mode": "navigate"})
    assert (led[0], led[1]["location"]) == (303, "/login")
    form = {"content-type": "application/x-www-form-urlencoded"}
    wrong = secret.request("/login", method="POST", body=b"token=guess", headers=form)
    assert (wrong[0], b"not the token" in wrong[2], wrong[1].get("set-cookie")) == (401, True, None)
    right = secret.request("/login", method="POST", body=f"token={TOKEN}".encode(), headers=form)
    assert right[0] == 303
    cookie = {"cookie": right[1]["set-cookie"].partition(";")[0]}
    assert secret.request("/api/v1/status", headers=cookie)[0] == 200
    assert secret.press("hold", headers=cookie)[0] == 200
    assert secret.press("resume", headers=cookie)[0] == 200


def test_buttons_say_why_they_cannot_be_pressed(secret: Watched, tmp_path: Path) -> None:
    controls = secret.json("/api/v1/status", headers=BEARER)["controls"]
    assert set(controls) == set(ACTIONS)
    assert controls["hold"] == {"enabled": True, "reason": None}
    assert "--state DIR" in controls["snapshot"]["reason"]
    assert secret.press("rollback", headers=BEARER)[0] == 409
    with watched(tmp_path, adapt="hold", state=False) as run:
        assert "learns nothing" in run.json("/api/v1/status")["controls"]["hold"]["reason"]
