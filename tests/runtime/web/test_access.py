"""Who is let in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moase_edge.runtime.web.access import OPEN_PATHS, Access
from moase_edge.runtime.web.address import WebAddress, listen

TOKEN = "correct horse battery".replace(" ", "-")


@pytest.fixture
def address() -> Iterator[WebAddress]:
    listening = listen("127.0.0.1:0", None)
    yield listening
    listening.close()


@pytest.fixture
def secret() -> Iterator[WebAddress]:
    listening = listen("127.0.0.1:0", TOKEN)
    yield listening
    listening.close()


def code(access: Access, method: str = "GET", path: str = "/", **headers: str) -> int | None:
    """The status that a request is refused with; None where it is let in."""
    given = {"host": "127.0.0.1:8080", **{name.replace("_", "-"): value for name, value in headers.items()}}
    refusal = access.refusal(method, path, given)
    return None if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost", "LOCALHOST:9000", "localhost.", "[::1]:8080", "192.168.1.7:80"]
)
def test_addresses_and_the_names_of_this_machine_are_let_in(address: WebAddress, host: str) -> None:
    assert code(Access(address), host=host) is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8080", "localhost.evil.example", "a@localhost", "["]
)
def test_another_sites_name_is_refused_whatever_it_resolves_to(address: WebAddress, host: str) -> None:
    assert code(Access(address), host=host) == 421


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"origin": "http://evil.example"}),
        ("POST", {"origin": "null"}),
        ("POST", {"origin": "http://127.0.0.1:9999"}),
        ("POST", {"sec_fetch_site": "cross-site"}),
        ("POST", {"sec_fetch_site": "same-site"}),
        ("POST", {"sec_fetch_site": "none"}),
        ("DELETE", {"sec_fetch_site": "cross-site"}),
        ("GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}),
        ("GET", {"origin": "http://evil.example"}),
    ],
)
def test_requests_from_other_web_sites_are_refused(
    address: WebAddress, method: str, headers: dict[str, str]
) -> None:
    assert code(Access(address), method, **headers) == 403


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),
        ("POST", {"origin": "http://127.0.0.1:8080", "sec_fetch_site": "same-origin"}),
        ("GET", {"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}),
        ("GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}),
    ],
)
def test_its_own_page_a_link_and_other_programs_are_let_in(
    address: WebAddress, method: str, headers: dict[str, str]
) -> None:
    assert code(Access(address), method, **headers) is None


def test_where_a_token_is_set_everything_but_health_and_login_needs_it(secret: WebAddress) -> None:
    access = Access(secret)
    for path in ("/", "/api/v1/status", "/stream.mjpg", "/metrics", "/openapi.json", "/api/v1/controls/hold"):
        assert code(access, path=path) == 401
        assert code(access, path=path, authorization=f"Bearer {TOKEN}") is None
        assert code(access, path=path, authorization=f"bearer  {TOKEN}") is None
    assert {path for path in OPEN_PATHS if code(access, path=path) is None} == OPEN_PATHS


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \udcff", TOKEN]
)
def test_a_wrong_token_is_refused(secret: WebAddress, authorization: str) -> None:
    assert code(Access(secret), authorization=authorization) == 401


def test_the_cookie_of_a_login_lets_in_and_no_other_does(secret: WebAddress) -> None:
    access, other = Access(secret), Access(secret)
    given, _, properties = access.cookie().partition("; ")
    assert properties == "Path=/; HttpOnly; SameSite=Strict"
    assert code(access, cookie=f"theme=dark; {given}") is None
    assert TOKEN not in given
    for wrong in (other.cookie().partition(";")[0], f"{given}x", given.replace("moase", "mouse"), "", "=", ";;"):
        assert code(access, cookie=wrong) == 401


def test_a_cookie_of_another_program_locks_nobody_out(secret: WebAddress) -> None:
    access = Access(secret)
    own = access.cookie().partition(";")[0]
    assert code(access, cookie=f'theme={{"dark": [1, 2]}}; a b=c; {own}') is None


def test_the_token_alone_does_not_help_another_web_site(secret: WebAddress) -> None:
    access = Access(secret)
    cookie = access.cookie().partition(";")[0]
    assert code(access, "POST", cookie=cookie, origin="http://evil.example") == 403
    assert code(access, cookie=cookie, host="evil.example") == 421
