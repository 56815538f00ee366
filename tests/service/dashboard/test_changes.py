"""What forms do: without scripts, by post, redirect and get."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.service import jobs
from tests.service.conftest import START, Site, opened
from tests.service.dashboard.browsing import Browser, browser_of


def edit_form(browser: Browser, task: str = "close") -> tuple[str, dict[str, str]]:
    form = browser.get(f"/tasks/{task}/edit").form(f"/tasks/{task}/edit")
    return form.action, form.fields


def test_an_edit_is_shown_before_it_is_saved(site: Site) -> None:
    browser = browser_of(site)
    action, fields = edit_form(browser)
    assert fields["schedule"] == "5m"
    wanted = fields | {"schedule": "10m", "retries": "3"}
    page = browser.post(action, wanted | {"step": "save"}, 200)
    assert site.scheduler.get_task("close").snapshot().retries == 0
    assert "every 5 minutes every 10 minutes" in page.words
    assert "retries 0 3" in page.words
    assert "next fire 2026-11-02 08:05:00 2026-11-02 08:10:00" in page.words
    assert "2026-11-02 08:10:00 in 10 min 2026-11-02 08:20:00 in 20 min" in page.words
    browser.send(page.form("/tasks/close/edit"), step="save")
    saved = site.scheduler.get_task("close").snapshot()
    assert (saved.retries, saved.trigger_description) == (3, "every 10 minutes")


def test_what_differs_from_what_was_shown_is_shown_again(site: Site) -> None:
    browser = browser_of(site)
    action, fields = edit_form(browser)
    shown = browser.post(action, fields | {"retries": "3"}, 200).form(action)
    page = browser.send(shown, 200, step="save", retries="4")
    assert "retries 0 4" in page.words
    assert site.scheduler.get_task("close").snapshot().retries == 0


def test_edits_do_not_overwrite_each_other(site: Site) -> None:
    browser = browser_of(site)
    action, fields = edit_form(browser)
    mine = browser.post(action, fields | {"retries": "3"}, 200).form(action)
    site.scheduler.update_task("close", max_instances=7)
    page = browser.send(mine, 409, step="save")
    assert "Somebody else changed this task" in page.words
    assert "max instances: 1 → 7" in page.words
    assert site.scheduler.get_task("close").snapshot().retries == 0
    again = page.form(action)
    assert again.fields["max_instances"] == "7"
    browser.send(again, step="save")
    saved = site.scheduler.get_task("close").snapshot()
    assert (saved.retries, saved.max_instances) == (3, 7)


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("schedule", "now and then", "schedule"),
        ("schedule", "", "say when it fires"),
        ("retries", "-1", "greater than or equal to 0"),
        ("retries", "many", "valid integer"),
        ("kwargs", "{", "this isn't JSON"),
        ("args", "{}", "a JSON list"),
        ("timezone", "Nowhere/Land", "Nowhere/Land"),
    ],
)
def test_what_can_not_be_is_said_at_its_field(
    site: Site, field: str, text: str, words: str
) -> None:
    browser = browser_of(site)
    action, fields = edit_form(browser)
    answer = browser.http.post(action, data=fields | {field: text, "step": "save"})
    assert answer.status_code == 422
    assert words in answer.text.replace("&#39;", "'")
    assert 'aria-invalid="true"' in answer.text


def test_nothing_to_change_is_said(site: Site) -> None:
    browser = browser_of(site)
    action, fields = edit_form(browser)
    assert "Nothing differs yet." in browser.post(action, fields | {"step": "save"}, 200).words


def test_hidden_arguments_stay_through_an_edit(site: Site) -> None:
    site.scheduler.update_task("close", kwargs={"city": "bonn", "password": "tell nobody"})
    browser = browser_of(site)
    action, fields = edit_form(browser)
    assert "tell nobody" not in str(fields)
    kwargs = fields["kwargs"].replace("bonn", "cologne")
    page = browser.post(action, fields | {"kwargs": kwargs}, 200)
    browser.send(page.form(action), step="save")
    saved = site.scheduler.get_task("close").snapshot()
    assert saved.kwargs == {"city": "cologne", "password": "tell nobody"}


def test_a_task_is_paused_with_reason_and_end_and_resumed(site: Site) -> None:
    browser = browser_of(site)
    form = browser.get("/tasks/close/pause").form("/tasks/close/pause")
    leads = browser.send(form, reason="it is a holiday", until="2026-11-03T08:00")
    page = browser.get(leads)
    assert "The task is paused." in page.words
    assert "it is a holiday · by anybody now · until 2026-11-03 08:00:00" in page.words
    assert "by anybody: it is a holiday" in browser.get("/tasks?state=paused").words
    paused = site.scheduler.get_task("close").snapshot()
    assert paused.paused_until == datetime(2026, 11, 3, 8, 0, tzinfo=UTC)
    browser.send(page.form("/tasks/close/resume"))
    assert site.scheduler.get_task("close").snapshot().schedule_state == "scheduled"


def test_a_pause_that_can_not_be_is_said(site: Site) -> None:
    browser = browser_of(site)
    form = browser.get("/tasks/close/pause").form("/tasks/close/pause")
    page = browser.send(form, 422, reason="late", until="2020-01-01T00:00")
    assert page.form("/tasks/close/pause").fields["reason"] == "late"
    assert site.scheduler.get_task("close").snapshot().schedule_state == "scheduled"


def test_a_task_that_was_changed_meanwhile_is_not_removed(site: Site) -> None:
    browser = browser_of(site)
    form = browser.get("/tasks/close/remove").form("/tasks/close/remove")
    site.scheduler.update_task("close", retries=1)
    assert "Somebody else changed this" in browser.send(form, 412).words
    again = browser.get("/tasks/close/remove").form("/tasks/close/remove")
    assert browser.send(again) == "/tasks?said=removed"
    assert [task.id for task in site.scheduler.get_tasks()] == ["fails"]


def test_a_run_is_started_read_and_done_again(site: Site) -> None:
    browser = browser_of(site)
    leads = browser.send(browser.get("/tasks/fails").form("/tasks/fails/run"))
    site.scheduler.advance(seconds=1)
    page = browser.get(leads)
    assert "ValueError : it is Monday" in page.words
    assert "Traceback (most recent call last)" in page.words
    [retry] = [form for form in page.forms if form.action.endswith("/retry")]
    again = browser.send(retry)
    assert again != leads
    assert "the same again as" in browser.get(again).words
    assert len(site.scheduler.get_runs(task="fails", source="manual")) == 2


def test_progress_is_shown_and_a_run_is_cancelled(site: Site) -> None:
    site.scheduler.add_task(jobs.other, "interval", hours=1, id="waits", start_at=START)
    site.scheduler.add_task(jobs.hold, "interval", hours=1, id="holds")
    browser = browser_of(site)
    leads = browser.send(browser.get("/tasks/holds").form("/tasks/holds/run"))
    [cancel] = [form for form in browser.get(leads).forms if form.action.endswith("/cancel")]
    page = browser.get(browser.send(cancel))
    assert "The run was asked to end." in page.words
    assert "cancelled" in page.words


def test_many_are_counted_before_anything_is_done_to_them(site: Site) -> None:
    browser = browser_of(site)
    page = browser.get("/bulk?action=pause")
    assert "Pause 2 tasks?" in page.words
    site.scheduler.add_task(jobs.other, "interval", minutes=1, id="third")
    refused = browser.send(page.form("/bulk"), 409, reason="all of them")
    assert "it would be 3 tasks now, not 2" in refused.words
    again = browser.get("/bulk?action=pause").form("/bulk")
    done = browser.send(again, 200, reason="all of them")
    assert "done to 3 of 3 tasks" in done.words
    states = {task.schedule_state for task in site.scheduler.get_tasks()}
    assert states == {"paused"}
    assert browser.get("/tasks").words.count("by anybody: all of them") == 3


def test_many_are_paused_until_some_time(site: Site) -> None:
    browser = browser_of(site)
    form = browser.get("/bulk?action=pause").form("/bulk")
    page = browser.send(form, 422, reason="the move", until="2020-01-01T00:00")
    assert "is not after now" in page.words
    again = page.form("/bulk")
    assert (again.fields["reason"], again.fields["until"]) == ("the move", "2020-01-01T00:00")
    assert {task.schedule_state for task in site.scheduler.get_tasks()} == {"scheduled"}
    done = browser.send(again, 200, until="2026-11-03T08:00")
    assert "done to 2 of 2 tasks" in done.words
    paused = [site.scheduler.get_task(each).snapshot() for each in ("close", "fails")]
    until = datetime(2026, 11, 3, 8, 0, tzinfo=UTC)
    assert [(task.paused_reason, task.paused_until) for task in paused] == [("the move", until)] * 2
    told = "by anybody: the move until 2026-11-03 08:00:00"
    assert browser.get("/tasks").words.count(told) == 2


def test_only_a_pause_asks_why_and_until_when(site: Site) -> None:
    browser = browser_of(site)
    for action in ("resume", "run", "remove"):
        fields = browser.get(f"/bulk?action={action}").form("/bulk").fields
        assert set(fields) == {"expected_count"}


def test_old_runs_are_counted_before_they_are_forgotten(site: Site) -> None:
    for task in ("close", "fails"):
        site.scheduler.pause_task(task)
    for _ in range(3):
        site.scheduler.run_task("close")
        site.scheduler.advance(seconds=2)
    site.scheduler.advance(days=3)
    count = len(site.scheduler.get_runs(limit=1_000))
    browser = browser_of(site)
    assert "/prune-runs" in browser.get("/runs").links
    page = browser.get("/prune-runs")
    [ask] = [form for form in page.forms if form.action == "/prune-runs"]
    assert (ask.method, ask.fields["before"]) == ("get", "2026-10-29T08:00")
    counted = browser.get("/prune-runs?before=2026-11-02T08:00:03")
    assert "2 runs from before 2026-11-02 08:00:03 UTC" in counted.words
    assert len(site.scheduler.get_runs(limit=1_000)) == count
    form = counted.form("/prune-runs")
    refused = browser.send(form, 409, expected_count="3")
    assert "it would be 2 runs now, not 3" in refused.words
    assert len(site.scheduler.get_runs(limit=1_000)) == count
    done = browser.send(form, 200)
    assert "2 rows of what was over before 2026-11-02 08:00:03 UTC are gone." in done.words
    assert len(site.scheduler.get_runs(limit=1_000)) == count - 2
    assert "There is nothing to prune" in browser.get("/prune-runs?before=2020-01-01T00:00").words
    assert "runs.prune" in browser.get("/audit").words


def test_what_is_no_instant_prunes_nothing(site: Site) -> None:
    page = browser_of(site).get("/prune-runs?before=yesterday", 422)
    assert "an instant is a text such as" in page.words
    assert page.deeds == {"/theme"}


@pytest.mark.parametrize("name", ["viewer", "operator"])
def test_who_may_not_prune_is_not_shown_it(guarded: Site, name: str) -> None:
    browser = browser_of(guarded, name)
    assert "/prune-runs" not in browser.get("/runs").links
    browser.get("/prune-runs?before=2020-01-01T00:00", 403)


def test_many_are_those_of_the_filters(site: Site) -> None:
    browser = browser_of(site)
    [link] = [each for each in browser.get("/tasks?tag=daily").links if "action=remove" in each]
    page = browser.get(link)
    assert "Remove 1 task?" in page.words
    browser.send(page.form("/bulk"), 200)
    assert [task.id for task in site.scheduler.get_tasks()] == ["fails"]


def test_failures_are_retried_together(site: Site) -> None:
    for _ in range(3):
        site.scheduler.run_task("fails")
        site.scheduler.advance(seconds=1)
    browser = browser_of(site)
    page = browser.get("/retry-runs")
    assert "Retry 3 runs?" in page.words
    assert "3 runs started again" in browser.send(page.form("/retry-runs"), 200).words
    assert len(site.scheduler.get_runs(task="fails", source="manual")) == 6


def test_a_task_is_created_of_a_function_that_is_allowed(tmp_path: Path) -> None:
    with opened(tmp_path, allow="tests.service.jobs:*") as site:
        browser = browser_of(site)
        form = browser.get("/new-task").form("/new-task")
        given = {"function": "tests.service.jobs:other", "id": "mine", "schedule": "0 8 * * *"}
        page = browser.send(form, 200, **given, step="preview")
        assert "2026-11-03 08:00:00" in page.words
        assert len(site.scheduler.get_tasks()) == 2
        leads = browser.send(page.form("/new-task"), step="save")
        assert leads == "/tasks/mine?said=created"
        refused = browser.send(form, 422, **given | {"function": "os:getcwd"}, step="save")
        assert "no task may be made of 'os:getcwd' from here" in refused.words
        twice = browser.send(form, 422, **given, step="save")
        assert "there is a task 'mine' already" in twice.words
        nothing = browser.send(form, 422, step="save")
        assert "say when it fires" in nothing.words


def test_pages_of_tasks_and_runs_follow_each_other(site: Site) -> None:
    for number in range(60):
        site.scheduler.add_task(jobs.other, "interval", hours=1, id=f"t{number:02}")
        site.scheduler.run_task(f"t{number:02}")
    site.scheduler.advance(seconds=1)
    browser = browser_of(site)
    manual = "/runs?source=manual"
    for path, each, count in (("/tasks", "/tasks/t", 60), (manual, "/runs/0", 60)):
        found: list[str] = []
        address: str | None = path
        while address is not None:
            links = browser.get(address).links
            found += [link for link in links if link.startswith(each)]
            address = next(
                (link for link in links if "cursor=" in link and "hold=" not in link), None
            )
        assert len(found) == len(set(found)) == count


def test_the_theme_is_a_cookie_and_leads_nowhere_else(site: Site) -> None:
    browser = browser_of(site)
    form = browser.get("/tasks?state=paused").form("/theme")
    assert browser.send(form, theme="dark") == "/tasks?state=paused"
    assert 'data-theme="dark"' in browser.http.get("/").text
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"):
        assert browser.send(form, next=elsewhere, theme="light") == "/"
