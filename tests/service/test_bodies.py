"""A request may be so large and no larger, whatever it says of its length."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.service.conftest import API, Site, opened
from tests.service.dashboard.browsing import Browser, browser_of
from tests.service.listening import listening
from tickwork.errors import InvalidInputError
from tickwork.service.client import Client
from tickwork.service.errors import RequestTooLargeError
from tickwork.service.models import TaskChange
from tickwork.service.settings import ServiceSettings, read_settings

MOST = 2_000
PROBLEM = {
    "type": "urn:tickwork:error:request-too-large",
    "title": "Request too large",
    "status": 413,
    "detail": f"the request has more than {MOST} bytes; send less at a time, or raise the setting "
    "max_body",
    "errors": [],
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a service that takes small requests."""
    with opened(tmp_path_factory.mktemp("small"), max_body=MOST) as site:
        yield site


@pytest.fixture(scope="module")
def url(small: Site) -> Iterator[str]:
    with listening(small) as found:
        yield found


def body(size: int) -> bytes:
    """Return a request to preview a schedule, of so many bytes."""
    text = json.dumps({"schedule": "5m"})
    return text.encode() + b" " * (size - len(text))


def in_pieces(whole: bytes) -> Iterator[bytes]:
    for place in range(0, len(whole), 100):
        yield whole[place : place + 100]


@pytest.mark.parametrize("pieces", [False, True], ids=["at once", "in chunks"])
@pytest.mark.parametrize(
    ("size", "status"), [(MOST, 200), (MOST + 1, 413), (7 * MOST, 413), (50 * MOST, 413)]
)
def test_what_is_too_much_is_refused_and_told_so(
    url: str, size: int, status: int, *, pieces: bool
) -> None:
    whole = body(size)
    answer = httpx2.post(
        f"{url}{API}/preview",
        content=in_pieces(whole) if pieces else whole,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == status
    sent = answer.request.headers
    assert ("transfer-encoding" in sent, "content-length" in sent) == (pieces, not pieces)
    if status == 413:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json() == PROBLEM


def test_what_says_that_it_is_far_too_much_needs_not_be_sent(url: str) -> None:
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as sending:
        head = f"POST {API}/preview HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n"
        sending.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
        assert sending.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_length_that_is_a_lie_helps_nobody(small: Site) -> None:
    headers = {"Content-Length": "10", "Content-Type": "application/json"}
    answer = small.client().post("preview", content=body(MOST + 1), headers=headers)
    assert (answer.status_code, answer.json()) == (413, PROBLEM)


def test_the_service_goes_on_after_it(url: str) -> None:
    with httpx2.Client() as client:
        for _ in range(3):
            assert client.post(f"{url}{API}/preview", content=body(3 * MOST)).status_code == 413
            kind = {"Content-Type": "application/json"}
            answer = client.post(f"{url}{API}/preview", content=body(100), headers=kind)
            assert answer.status_code == 200


def test_what_only_looks_is_not_read(small: Site) -> None:
    client = small.client()
    assert client.request("GET", "tasks", content=b"x" * 10 * MOST).status_code == 200


def test_a_client_gets_it_as_an_error(url: str) -> None:
    with pytest.raises(RequestTooLargeError, match="raise the setting max_body"):
        Client(url).change_task("close", TaskChange(kwargs={"city": "x" * MOST}))


@pytest.mark.parametrize(
    "path", ["/login", "/setup", "/theme", "/bulk?action=pause", "/tasks/close/edit", "/new-task"]
)
def test_forms_are_bounded_as_well(tmp_path: Path, path: str) -> None:
    with opened(tmp_path, max_body=MOST) as site:
        page = Browser(site.app).post(path, {"reason": "x" * MOST}, 413)
        assert "That is too much at once" in page.words
        assert "raise the setting max_body" in page.words
        assert {task.schedule_state for task in site.scheduler.get_tasks()} == {"scheduled"}


def test_forms_in_parts_are_bounded_too(small: Site) -> None:
    browser = browser_of(small)
    answer = browser.http.post(
        "/tasks/close/pause", files={"reason": (None, "x" * MOST, "text/plain")}
    )
    assert answer.status_code == 413
    assert small.scheduler.get_task("close").snapshot().schedule_state == "scheduled"


def test_a_mebibyte_is_enough_unless_it_is_said() -> None:
    assert ServiceSettings().max_body == 1_048_576
    with pytest.raises(InvalidInputError, match="max_body"):
        read_settings(max_body=0)
