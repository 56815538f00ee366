"""A service over a scheduler whose time a test moves, and clients that ask it as somebody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service import jobs
from tickwork.service.app import create_app
from tickwork.service.hosting import Service
from tickwork.service.people import NewUser
from tickwork.service.roles import Role
from tickwork.service.settings import ServiceSettings
from tickwork.testing import ManualClock, SteppedScheduler

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"  # noqa: S105  of users who are none
API = "/api/v1"


class Site:
    """A service, and clients of it."""

    def __init__(self, scheduler: SteppedScheduler, settings: ServiceSettings) -> None:
        self.scheduler = scheduler
        self.app = create_app(scheduler, settings)
        self.service: Service = self.app.state.service

    def client(self, **headers: str) -> TestClient:
        """Return somebody who isn't logged in."""
        return TestClient(
            self.app,
            base_url=f"http://localhost{API}",
            headers=headers,
            raise_server_exceptions=False,
        )

    def create_users(self) -> None:
        """Add a user of each role, who is called like it."""
        for role in Role:
            self.service.accounts.create_user(
                NewUser(name=role.value, password=PASSWORD, role=role)
            )

    def with_token(self, role: Role, user: str | None = None) -> TestClient:
        """Return a program with a token."""
        secret, _ = self.service.accounts.create_token(user or role.value, "test", role, None)
        return self.client(Authorization=f"Bearer {secret}")

    def logged_in(self, name: str) -> TestClient:
        """Return a browser in which somebody has logged in, and which knows its CSRF token."""
        client = self.client()
        answer = client.post("session", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf"]
        return client


@contextmanager
def opened(folder: Path, **settings: Any) -> Iterator[Site]:
    """Serve a scheduler with two declared tasks in an SQLite file, for the time of a block."""
    scheduler = SteppedScheduler(
        f"sqlite:///{folder}/tasks.db?durability=normal", clock=ManualClock(START)
    )
    declare = scheduler.task("interval", minutes=5, id="close", tags=["daily"], max_history=1_000)
    declare(jobs.close_day)
    scheduler.task("cron", hour=9, id="fails", timezone="Europe/Berlin")(jobs.fail)
    scheduler.start()
    try:
        yield Site(scheduler, ServiceSettings(**settings))
    finally:
        jobs.go.set()
        scheduler.stop(timeout=2)


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep settings of the machine's environment away."""
    monkeypatch.chdir(tmp_path)
    jobs.go.clear()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a service where nobody logs in."""
    with opened(tmp_path) as site:
        yield site


@pytest.fixture
def client(site: Site) -> TestClient:
    """Return who asks a service where nobody logs in."""
    return site.client()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a service with a user of each role."""
    with opened(tmp_path_factory.mktemp("guarded"), auth="password") as site:
        site.create_users()
        yield site
