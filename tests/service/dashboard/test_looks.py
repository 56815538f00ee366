"""Every page as anybody may meet it: by screen reader, in the dark, on a phone, in the docs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

serving = pytest.importorskip("tests.service.dashboard.serving", exc_type=ImportError)

from playwright.sync_api import expect  # noqa: E402  skipped without it

from tests.service.conftest import PASSWORD  # noqa: E402
from tests.service.dashboard.serving import Shop, Window, log_in  # noqa: E402

Open = Callable[..., Window]

PAGES = {
    "overview": "/",
    "tasks": "/tasks",
    "task": "/tasks/close-day",
    "edit-empty": "/tasks/close-day/edit",
    "pause": "/tasks/close-day/pause",
    "paused": "/tasks/sync-stock",
    "remove": "/tasks/close-day/remove",
    "new-empty": "/new-task",
    "bulk": "/bulk?action=pause",
    "bulk-remove": "/bulk?action=remove&tag=daily",
    "retry": "/retry-runs",
    "prune-asked": "/prune-runs",
    "prune": "/prune-runs?before=2099-01-01T00:00",
    "prune-none": "/prune-runs?before=2020-01-01T00:00",
    "runs": "/runs",
    "runs-none": "/runs?task=nobody",
    "failures": "/runs?status=failed",
    "nodes": "/nodes",
    "locks": "/locks",
    "audit-open": "/audit?action=tasks.remove",
    "account-open": "/account",
    "none": "/nowhere",
}
GUARDED = {
    "users": "/users",
    "remove-user": "/users/viewer/remove",
    "account": "/account",
    "audit": "/audit",
}
PICTURES = {
    "overview", "tasks", "task", "pause", "remove", "bulk", "retry", "prune", "runs", "failures",
    "nodes", "locks", "none", *GUARDED,
}  # fmt: skip
"""What has its picture taken here; what takes more than an address, where that is done."""

LONG = {"runs", "failures", "audit"}
"""Lists of which the beginning says it all."""


def looked_at(seen: Window, pages: dict[str, str], scheme: str) -> dict[str, list[str]]:
    """Return the barriers of pages, of which pictures are kept."""
    found = {}
    for name, path in pages.items():
        seen.go(path)
        found[name] = seen.barriers()
        if name in PICTURES and scheme == "light":
            seen.keep_picture(name, large=name not in LONG)
        if name == "overview" and scheme == "dark":
            seen.keep_picture("dark")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_from_using_the_pages(store: Shop, window: Open, scheme: str) -> None:
    seen = window(store, color_scheme=scheme)
    found = looked_at(seen, PAGES, scheme)
    for task, name in (("charge-cards", "run-failed"), ("close-day", "log")):
        run = store.scheduler.get_runs(task=task, limit=1)[0]
        seen.go(f"/runs/{run.id}")
        found[name] = seen.barriers()
        if name == "log" and scheme == "light":
            seen.keep_picture(name)
    assert {name: barriers for name, barriers in found.items() if barriers} == {}
    assert len(found) == len(PAGES) + 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(guarded_store: Shop, window: Open, scheme: str) -> None:
    seen = window(guarded_store, color_scheme=scheme)
    seen.go("/login")
    found = {"login": seen.barriers()}
    page = seen.page
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("guessed")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("There is no such user with this password.")
    found["refused"] = seen.barriers()
    log_in(seen, "admin")
    page = seen.go("/account")
    page.get_by_label("Name").fill("deploys")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#secret")).to_contain_text("tw_")
    found["token"] = seen.barriers()
    found |= looked_at(seen, GUARDED, scheme)
    assert {name: barriers for name, barriers in found.items() if barriers} == {}
    assert len(found) == len(GUARDED) + 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_admin_is_made_by_the_page_for_it(
    tmp_path: Path, window: Open, scheme: str
) -> None:
    with serving.open_shop(tmp_path, auth="password", users=False) as shop:
        seen = window(shop, color_scheme=scheme)
        page = seen.go("/")
        expect(page.get_by_role("heading", name="Set up")).to_be_visible()
        page.get_by_label("Set-up token").fill(shop.service.accounts.new_set_up_token())
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        assert seen.barriers() == []
        if scheme == "light":
            seen.keep_picture("setup")
        page.get_by_role("button", name="Create the first admin").click()
        expect(page.get_by_text("The first admin is there: log in.")).to_be_visible()
        log_in(seen, "ada")
        assert [user.name for user in shop.service.accounts.users()] == ["ada"]
        page.goto("about:blank")


def test_pages_fit_a_phone(store: Shop, window: Open) -> None:
    seen = window(store, width=360, height=740)
    wide = {}
    for name, path in PAGES.items():
        page = seen.go(path)
        wide[name] = page.evaluate("document.documentElement.scrollWidth")
        if name == "tasks":
            seen.keep_picture("phone")
    run = store.scheduler.get_runs(task="charge-cards", limit=1)[0]
    wide["run"] = seen.go(f"/runs/{run.id}").evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in wide.items() if width > 360} == {}


def test_pages_for_users_fit_a_phone(guarded_store: Shop, window: Open) -> None:
    seen = window(guarded_store, width=360, height=740)
    log_in(seen, "admin")
    wide = {}
    for name, path in GUARDED.items():
        wide[name] = seen.go(path).evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in wide.items() if width > 360} == {}
