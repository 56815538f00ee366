"""A service on a real port, with a shop's tasks on SQLite, and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    FloatRect,
    Page,
    expect,
    sync_playwright,
)

from tests.service.conftest import PASSWORD
from tests.service.dashboard import shop
from tickwork import Scheduler
from tickwork.coordination import Lock
from tickwork.model.instants import from_us
from tickwork.scheduler.clock import SystemClock
from tickwork.service.app import create_app
from tickwork.service.hosting import Service
from tickwork.service.people import NewUser
from tickwork.service.roles import Role
from tickwork.service.settings import ServiceSettings

__all__ = ["Shop", "Window", "browser_here", "log_in", "open_shop", "tomorrow"]

_PATIENCE_MS = 30_000
"""How long a page may take, on a machine that is busy."""

_LARGEST = 150_000
"""Bytes that a picture of a page may have."""

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
IMAGES = Path(__file__).parents[3] / "docs" / "images"


_WITHOUT = """(folder) => document.querySelectorAll("pre").forEach((pre) => {
    pre.textContent = pre.textContent.replaceAll(folder, "");
})"""
"""Leaves where the tests lie out of tracebacks."""


class Shop:
    """A scheduler with tasks of each kind, and where its pages are."""

    def __init__(self, scheduler: Scheduler, service: Service, url: str) -> None:
        self.scheduler = scheduler
        self.service = service
        self.url = url

    def fill(self) -> None:
        """Add tasks, some of which have runs."""
        add = self.scheduler.add_task
        add(shop.close_day, "cron", hour=20, day_of_week="mon-fri", id="close-day",
            timezone="Europe/Berlin", kwargs={"city": "berlin", "password": "x"},
            tags=["daily", "books"])  # fmt: skip
        add(shop.charge_cards, "interval", hours=1, id="charge-cards", tags=["money"])
        add(shop.rebuild_index, "cron", hour=3, id="rebuild-index")
        add(shop.send_report, "interval", minutes=15, id="send-report", tags=["daily", "mail"])
        add(shop.send_report, "cron", minute="*/30", id="sync-stock")
        add(shop.wait_for_ever, "cron", hour=4, id="wait-for-ever")
        self.scheduler.pause_task("sync-stock", reason="the warehouse moves house")
        for task, count in (("close-day", 12), ("send-report", 20), ("charge-cards", 3)):
            for _ in range(count):
                self.scheduler.run_task(task).wait(20)


@contextmanager
def open_shop(folder: Path, *, users: bool = True, **settings: Any) -> Iterator[Shop]:
    """Serve a shop for the time of a block, with a user of each role where people log in."""
    while shop.step.acquire(blocking=False):
        # What a shop before this one has left.
        continue
    scheduler = Scheduler(f"sqlite:///{folder}/shop.db?durability=normal")
    allowed = ("tests.service.dashboard.shop:*",)
    app = create_app(scheduler, ServiceSettings(allow=allowed, **settings))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    # It listens before the server does: whoever asks early waits, and is answered.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Shop(scheduler, app.state.service, f"http://127.0.0.1:{listening.getsockname()[1]}")
        ready = threading.Event()

        def serve() -> None:
            """Live in a thread of its own: the tool that drives browsers has a loop in this one."""
            with scheduler:
                if users and settings.get("auth") == "password":
                    _create_users(found.service)
                found.fill()
                with Lock("ledger", scheduler=scheduler), Lock("stock count", scheduler=scheduler):
                    ready.set()
                    server.run(sockets=[listening])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            assert ready.wait(60)
            yield found
        finally:
            shop.step.release(10)
            server.should_exit = True
            thread.join(30)
        assert not thread.is_alive()


def _create_users(service: Service) -> None:
    for role in Role:
        service.accounts.create_user(NewUser(name=role.value, password=PASSWORD, role=role))


class Window:
    """A page of a browser; what its console complains of is kept."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(_PATIENCE_MS)
        self.url = url
        self.complaints: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        # That a page answers 403 or 404 is told as well, and is what some tests are about.
        if message.type in {"error", "warning"} and "the server responded with" not in message.text:
            self.complaints.append(message.text)

    def go(self, path: str) -> Page:
        """Go to a page."""
        self.page.goto(self.url + path)
        return self.page

    def barriers(self) -> list[str]:
        """Return what keeps some people from using this page, as axe-core sees it."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("async () => (await axe.run()).violations")
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found
            for node in each["nodes"]
        ]

    def keep_picture(self, name: str, *, large: bool = True) -> None:
        """Keep a picture of this page for the documentation, where that is asked for."""
        if os.environ.get("TICKWORK_SCREENSHOTS") == "1":
            IMAGES.mkdir(exist_ok=True)
            self.page.evaluate(_WITHOUT, f"{IMAGES.parents[1]}/")
            path = IMAGES / f"dashboard-{name}.png"
            # What is below is more of the same.
            clip = None if large else FloatRect(x=0, y=0, width=1280, height=560)
            self.page.screenshot(path=path, animations="disabled", clip=clip)
            assert path.stat().st_size < _LARGEST, f"{path.name} is too large a picture"


@contextmanager
def browser_here() -> Iterator[Browser]:
    """Start the system's Chromium.

    Raises:
        FileNotFoundError: there is none.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise FileNotFoundError("chromium; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        # Where tests run as root, or in a container, its sandbox can't be made, nor may there be
        # much of the memory that it would share.
        args = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium, args=args)
        expect.set_options(timeout=_PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


def log_in(window: Window, name: str) -> None:
    """Log in by the page for that."""
    page = window.go("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def tomorrow() -> str:
    """Return tomorrow's date as a field for date and time takes it."""
    return f"{from_us(SystemClock().now_us()) + timedelta(days=1):%Y-%m-%dT08:00}"
