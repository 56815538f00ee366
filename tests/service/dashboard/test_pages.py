"""Each page answers, links to pages that answer, and shows people what is theirs to do."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.service import jobs
from tests.service.conftest import Site, opened
from tests.service.dashboard.browsing import Browser, browser_of, crawl
from tickwork import Scheduler
from tickwork.service.app import create_app
from tickwork.service.settings import ServiceSettings

HOSTILE = "\"><script>alert(1)</script>'/..&amp;"


def fill(site: Site) -> str:
    """Have something of each kind be there; return the id of a run that failed."""
    scheduler = site.scheduler
    scheduler.add_task(jobs.other, "interval", minutes=1, id="a/b c?", tags=["x&y"])
    scheduler.add_task(jobs.other, "interval", minutes=1, id="rests")
    scheduler.pause_task("rests", reason="it is tired")
    scheduler.advance(minutes=5)
    run = scheduler.run_task("fails")
    scheduler.advance(seconds=1)
    assert run.snapshot().status == "failed"
    return run.id


def test_each_link_on_each_page_answers(site: Site) -> None:
    run_id = fill(site)
    seen = crawl(browser_of(site), "/")
    pages = {path.partition("?")[0] for path in seen}
    assert {"/", "/tasks", "/runs", "/nodes", "/locks", "/audit", "/new-task", "/bulk"} <= pages
    assert {"/tasks/close", "/tasks/close/edit", "/tasks/close/pause"} <= pages
    assert {"/tasks/a%2Fb%20c%3F", "/tasks/a%2Fb%20c%3F/remove", f"/runs/{run_id}"} <= pages
    assert {"/static/dashboard.css", "/static/dashboard.js"} <= pages


@pytest.mark.parametrize("name", ["viewer", "operator", "admin"])
def test_each_link_answers_whoever_sees_it(guarded: Site, name: str) -> None:
    seen = crawl(browser_of(guarded, name), "/")
    pages = {path.partition("?")[0] for path in seen}
    assert ({"/audit", "/users"} <= pages) is (name == "admin")
    assert ("/new-task" in pages) is (name != "viewer")
    assert "/account" in pages


def test_pages_work_under_any_prefix(site: Site) -> None:
    fill(site)
    browser = Browser(Starlette(routes=[Mount("/ops/tick", app=site.app)]))
    seen = crawl(browser, "/ops/tick/")
    assert len(seen) > 30
    assert {path for path in seen if not path.startswith("/ops/tick/")} == set()
    page = browser.get("/ops/tick/tasks/close")
    assert browser.send(page.form("/ops/tick/tasks/close/run")).startswith("/ops/tick/runs/")


def test_a_prefix_can_be_a_proxys(site: Site) -> None:
    page = Browser(site.app, root_path="/jobs").get("/tasks/close")
    assert {link for link in page.links if not link.startswith(("/jobs/", "#"))} == set()
    assert {deed for deed in page.deeds if not deed.startswith("/jobs/")} == set()


def test_names_are_text_and_nothing_else(site: Site) -> None:
    site.scheduler.add_task(
        jobs.close_day, "interval", minutes=1, id=HOSTILE, name=HOSTILE, tags=[HOSTILE],
        kwargs={"city": HOSTILE},
    )  # fmt: skip
    site.scheduler.run_task(HOSTILE)
    site.scheduler.advance(seconds=1)
    site.scheduler.pause_task(HOSTILE, reason=HOSTILE)
    browser = browser_of(site)
    browser.send(browser.get("/tasks/close/pause").form("/tasks/close/pause"), reason=HOSTILE)
    [run] = site.scheduler.get_runs(task=HOSTILE)
    address = f"/tasks/{quote(HOSTILE, safe='')}"
    for path in (
        "/", "/tasks", address, f"{address}/edit", f"{address}/remove", f"/runs/{run.id}",
        "/runs", "/audit", f"/tasks?search={quote(HOSTILE)}", "/bulk?action=pause",
        f"/runs?task={quote(HOSTILE)}", f"/retry-runs?task={quote(HOSTILE)}",
    ):  # fmt: skip
        answer = browser.http.get(path)
        assert answer.status_code == 200, path
        assert "<script>alert" not in answer.text, path
    assert f"Run of {HOSTILE}" in browser.get(f"/runs/{run.id}").words


# --- who sees and does what ---------------------------------------------------------------------

DEEDS = (
    "/tasks/close/run", "/tasks/close/resume", "/tasks/close/pause", "/tasks/close/edit",
    "/tasks/close/remove", "/new-task", "/bulk?action=pause", "/bulk?action=remove", "/retry-runs",
    "/runs/none/cancel", "/runs/none/retry", "/users", "/users/viewer", "/users/viewer/remove",
)  # fmt: skip
LOOKS = (
    "/tasks/close/edit", "/tasks/close/pause", "/tasks/close/remove", "/new-task", "/audit",
    "/users", "/users/viewer/remove", "/bulk?action=pause", "/retry-runs",
)  # fmt: skip


def test_a_viewer_is_shown_nothing_that_changes_tasks(guarded: Site) -> None:
    browser = browser_of(guarded, "viewer")
    shown: set[str] = set()
    for path in crawl(browser, "/"):
        if not path.startswith("/static"):
            shown |= browser.get(path).deeds
    assert shown == {"/theme", "/logout", "/account/tokens", "/account/password", "/account/logout"}


@pytest.mark.parametrize("path", DEEDS)
def test_a_viewer_can_change_nothing(guarded: Site, path: str) -> None:
    browser = browser_of(guarded, "viewer")
    csrf = browser.get("/account").form("/logout").fields["csrf"]
    page = browser.post(path, {"csrf": csrf, "expected_count": "2"}, 403)
    assert "You may not do that" in page.words
    assert "takes the role" in page.words


@pytest.mark.parametrize("path", LOOKS)
def test_a_viewer_is_refused_pages_that_prepare_a_change(guarded: Site, path: str) -> None:
    assert "takes the role" in browser_of(guarded, "viewer").get(path, 403).words


def test_an_operator_removes_nothing(guarded: Site) -> None:
    browser = browser_of(guarded, "operator")
    page = browser.get("/tasks/close")
    assert {"/tasks/close/run"} <= page.deeds
    assert "Remove" not in page.words
    browser.get("/tasks/close/remove", 403)


@pytest.mark.parametrize(
    "path", [*DEEDS, "/logout", "/account/tokens", "/account/password", "/account/logout"]
)
def test_a_form_without_the_word_of_its_session_is_refused(guarded: Site, path: str) -> None:
    browser = browser_of(guarded, "admin")
    assert "X-CSRF-Token" in browser.post(path, {}, 403).words
    browser.post(path, {"csrf": "0" * 32}, 403)


def test_a_viewing_service_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, viewer=True) as site:
        page = browser_of(site).get("/tasks/close")
        assert page.deeds == {"/theme"}
        assert "This service only looks" in page.words
        browser_of(site).post("/tasks/close/run", {}, 403)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nope", 404, "There is nothing here"),
        ("/tasks/nope", 404, "There is nothing here"),
        ("/runs/nope", 404, "There is nothing here"),
        ("/users/nope/remove", 404, "There is nothing here"),
        ("/tasks?state=asleep", 422, "That can't be understood"),
        ("/tasks?cursor=x", 422, "That can't be understood"),
        ("/runs?since=yesterday", 422, "That can't be understood"),
        ("/bulk?action=explode", 422, "That can't be understood"),
        ("/logout", 405, "That can't be done here"),
    ],
)
def test_errors_are_pages_with_a_way_on(guarded: Site, path: str, status: int, words: str) -> None:
    page = browser_of(guarded, "admin").get(path, status)
    assert words in page.words
    assert "/" in page.links


def test_what_is_over_already_is_a_conflict(site: Site) -> None:
    run_id = fill(site)
    page = browser_of(site).post(f"/runs/{run_id}/cancel", {}, 409)
    assert "Something else happened meanwhile" in page.words
    assert "is over already" in page.words


def test_a_store_that_is_not_there_is_said() -> None:
    app = create_app(Scheduler("sqlite:///nobody.db"), ServiceSettings())
    page = Browser(app).get("/", 503)
    assert "The store doesn't answer" in page.words


def test_programs_get_no_pages(site: Site) -> None:
    answer = browser_of(site).http.get("/api/v1/nope")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_files_come_with_the_policy_too(site: Site) -> None:
    answer = browser_of(site).http.get("/static/dashboard.js")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert browser_of(site).http.get("/static/../site.py").status_code == 404


# --- live updates -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/tasks", "/tasks/close", "/runs", "/nodes", "/locks"])
def test_live_updates_are_held_by_the_address(site: Site, path: str) -> None:
    browser = browser_of(site)
    live = browser.http.get(path).text
    assert live.count("hx-trigger=") == 1
    page = browser.get(path)
    [hold] = [link for link in page.links if link.endswith("hold=1")]
    held = browser.http.get(hold).text
    assert held.count("hx-trigger=") == 0
    assert "Go live" in held


def test_holding_keeps_the_filters(site: Site) -> None:
    page = browser_of(site).get("/tasks?state=scheduled&hold=1")
    [form] = [form for form in page.forms if form.method == "get"]
    assert form.fields["hold"] == "1"
    assert form.fields["state"] == "scheduled"
    assert "/tasks?state=scheduled" in page.links


def test_a_run_that_is_over_is_not_asked_for_again(site: Site) -> None:
    run_id = fill(site)
    assert "hx-trigger=" not in browser_of(site).http.get(f"/runs/{run_id}").text


# --- the overview -------------------------------------------------------------------------------


def test_the_overview_is_calm_when_all_is_well(site: Site) -> None:
    page = browser_of(site).get("/")
    assert "All is well" in page.words
    assert "0 late 0 failing 0 quarantined 0 dead nodes 0 unknown functions" in page.words


def test_the_overview_begins_with_what_fails_and_why(site: Site) -> None:
    fill(site)
    words = browser_of(site).get("/").words
    assert "One thing needs a look 0 late 1 failing" in words
    assert "fails failed ValueError : it is Monday" in words
    assert words.index("it is Monday") < words.index("Last hour")


def test_the_overview_bounds_what_it_counts(site: Site) -> None:
    for number in range(51):
        site.scheduler.add_task(jobs.fail, "interval", hours=9, id=f"fails {number:02}")
        site.scheduler.run_task(f"fails {number:02}")
    site.scheduler.advance(seconds=1)
    assert "50+ failing" in browser_of(site).get("/").words


def test_the_overview_names_late_tasks_when_nobody_fires_them(site: Site) -> None:
    site.scheduler.stop()
    site.scheduler.clock.advance(minutes=10)
    site.scheduler.connect()
    words = browser_of(site).get("/").words
    assert "2 late" in words
    assert "fails was due 10 min ago close was due 5 min ago" in words
    assert "No node is alive" in words
