"""The page of a run is followed as it happens, until the run, the session or the service ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.cli.processes import started
from tests.service.conftest import PASSWORD, Site, opened
from tests.service.dashboard.browsing import Page, browser_of
from tests.service.listening import listening

APPLICATION = """
import uvicorn
from fastapi import FastAPI
from tickwork import Scheduler

scheduler = Scheduler("sqlite:///shop.db")

@scheduler.task(every="1h", id="waits", retries=1, delay=3600)
def fail():
    raise ValueError("later")

app = FastAPI(lifespan=scheduler.lifespan)
app.mount("/jobs", scheduler.dashboard())

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        run = scheduler.run_task("waits")
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"at http://127.0.0.1:{port}/jobs/runs/{run.id}/follow", flush=True)

config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=60)
Server(config).run()
"""


class Told:
    """What a stream tells, one event after the other; what is only a sign of life isn't."""

    def __init__(self, answer: httpx2.Response) -> None:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        self._lines = answer.iter_lines()

    def next(self) -> tuple[str, str] | None:
        """Return the next event; None at the end."""
        kind, data = "", []
        for line in self._lines:
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data.append(line.removeprefix("data: "))
            elif not line and kind:
                return kind, "\n".join(data)
        return None

    def words(self, kind: str) -> str:
        """Return what stands in an event; what leads to the end of a run may have more."""
        found = self.next()
        while found is not None and kind == "over" and found[0] == "run":
            found = self.next()
        assert found is not None
        assert found[0] == kind
        return Page(found[1]).words


@contextmanager
def followed(url: str, cookies: dict[str, str] | None = None) -> Iterator[Told]:
    with httpx2.stream("GET", url, cookies=cookies, timeout=30) as answer:
        yield Told(answer)


def waiting_run(site: Site) -> str:
    """Return a run that is made and waits until a test lets time go on."""
    return site.scheduler.run_task("close").id


def test_a_run_is_told_from_its_beginning_to_its_end(site: Site) -> None:
    run_id = waiting_run(site)
    with listening(site) as url, followed(f"{url}/runs/{run_id}/follow") as told:
        assert "Run of close pending" in told.words("run")
        site.scheduler.step()
        words = told.words("over")
        assert "Run of close completed" in words
        assert '"berlin"' in words
        assert told.next() is None


def test_a_run_that_is_over_is_told_once(site: Site) -> None:
    run_id = waiting_run(site)
    site.scheduler.step()
    with listening(site) as url, followed(f"{url}/runs/{run_id}/follow") as told:
        assert "Run of close completed" in told.words("over")
        assert told.next() is None


def test_what_is_told_is_what_the_page_shows(site: Site) -> None:
    run_id = waiting_run(site)
    with listening(site) as url, followed(f"{url}/runs/{run_id}/follow") as told:
        found = told.next()
    assert found is not None
    page = browser_of(site).http.get(f"/runs/{run_id}").text
    squeezed = " ".join(page.split())
    assert " ".join(found[1].split()) in squeezed
    assert f'data-follow="/runs/{run_id}/follow"' in page


def test_a_page_that_is_held_follows_nothing(site: Site) -> None:
    text = browser_of(site).http.get(f"/runs/{waiting_run(site)}?hold=1").text
    assert "data-follow" not in text
    assert "hx-trigger" not in text


def test_a_run_that_is_not_there_is_followed_by_nobody(site: Site) -> None:
    assert "There is nothing here" in browser_of(site).get("/runs/none/follow", 404).words


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        yield site


def test_a_stream_ends_with_its_session(closed: Site) -> None:
    run_id = waiting_run(closed)
    with listening(closed) as url:
        login = {"name": "viewer", "password": PASSWORD}
        session = httpx2.post(f"{url}/api/v1/session", json=login)
        cookies = dict(session.cookies)
        with followed(f"{url}/runs/{run_id}/follow", cookies) as told:
            assert "Run of close pending" in told.words("run")
            word = {"X-CSRF-Token": session.json()["csrf"]}
            assert httpx2.delete(
                f"{url}/api/v1/session", cookies=cookies, headers=word
            ).is_success  # fmt: skip
            assert told.next() == ("gone", "")
            assert told.next() is None


def test_who_is_not_logged_in_follows_nothing(closed: Site) -> None:
    answer = browser_of(closed).http.get(f"/runs/{waiting_run(closed)}/follow")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")


def test_streams_end_when_the_service_stops(site: Site) -> None:
    run_id = waiting_run(site)
    with listening(site) as url, followed(f"{url}/runs/{run_id}/follow") as told:
        told.words("run")
        site.service.events.close()
        assert told.next() is None


def test_a_stream_does_not_keep_an_application_from_stopping(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION)
    with started(tmp_path, "app.py") as process:
        url = process.until("at http").partition("at ")[2]
        with followed(url) as told:
            told.words("run")
            process.send(signal.SIGTERM)
            # It ends by itself; it would be cut off a minute later.
            while told.next() is not None:
                continue
        assert process.ended() == -signal.SIGTERM
