"""Runs over REST, and what else can be seen."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service import jobs
from tests.service.conftest import START, Site
from tickwork.coordination import LeaderElection, Lock
from tickwork.model.policies import RunState, Source
from tickwork.model.steps import TaskQuery
from tickwork.service.actors import Actor, Via
from tickwork.service.errors import AccessDeniedError
from tickwork.service.models import Page, RunFilter, RunSummary
from tickwork.service.operations import Operations, runs
from tickwork.service.roles import Role
from tickwork.stores.sql import SQLStore
from tickwork.testing import ManualClock, SteppedScheduler


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:tickwork:error:")


def items(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


@pytest.fixture
def busy(site: Site) -> TestClient:
    """Return who asks a service in which 30 runs went well and 3 failed."""
    site.scheduler.update_task("fails", trigger="interval", minutes=50)
    site.scheduler.advance(minutes=150)
    return site.client()


def test_pages_of_runs_hold_each_once_the_newest_first(busy: TestClient) -> None:
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 10, "total": True}
    while True:
        page = busy.get("runs", params=query)
        found += items(page)
        assert page.json()["total"] == 34
        query["cursor"] = page.json()["next_cursor"]
        if query["cursor"] is None:
            break
    assert len({run["id"] for run in found}) == len(found) == 34
    created = [run["created_at"] for run in found]
    assert created == sorted(created, reverse=True)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("task=close", 30),
        ("status=failed", 4),
        ("status=failed&status=completed", 34),
        ("status=failed&task=close", 0),
        ("source=manual", 0),
        ("since=2026-11-02T10:00:00Z", 8),
        ("until=2026-11-02T08:05:00Z", 2),
        ("store=local", 0),
    ],
)
def test_runs_are_filtered(busy: TestClient, query: str, count: int) -> None:
    assert busy.get(f"runs?{query}&total=true").json()["total"] == count
    assert len(items(busy.get(f"runs?{query}"))) == count


def _pages(client: TestClient, query: str) -> list[dict[str, Any]]:
    found = [client.get(f"runs?{query}").json()]
    while found[-1]["next_cursor"] is not None:
        found.append(client.get(f"runs?{query}&cursor={found[-1]['next_cursor']}").json())
    return found


def test_one_page_looks_through_so_many_runs_and_says_how_far_it_got(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_LOOKED_AT", 10)
    site.scheduler.remove_task("fails")
    client = site.client()
    manual = client.post("tasks/close/run").json()["id"]
    site.scheduler.advance(minutes=125)
    every = items(client.get("runs?limit=100"))
    assert (len(every), every[-1]["id"]) == (26, manual)
    pages = _pages(client, "source=manual&total=true")
    assert [[run["id"] for run in page["items"]] for page in pages] == [[], [], [manual]]
    ends = [every[9]["created_at"], every[19]["created_at"], None]
    assert [page["looked_back_to"] for page in pages] == ends
    assert {(page["total"], page["total_exact"]) for page in pages} == {(0, False)}
    # What fills its page before that is as ever.
    pages = _pages(client, "status=completed&limit=8")
    assert [len(page["items"]) for page in pages] == [8, 8, 8, 2]
    assert [page["looked_back_to"] for page in pages] == [None] * 4
    assert [len(page["items"]) for page in _pages(client, "status=completed&limit=12")] == [
        10,
        10,
        6,
    ]


def test_what_is_found_at_once_is_counted_and_listed_as_a_whole(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_LOOKED_AT", 10)
    site.scheduler.remove_task("fails")
    site.scheduler.advance(minutes=125)
    client = site.client()
    since = "since=2026-11-02T09:30:00Z"
    for query, found, total, exact in (
        ("", 25, 25, True),
        ("task=close", 25, 25, True),
        ("status=failed", 0, 0, True),
        ("status=failed&source=manual", 0, 0, True),
        ("suspect=true", 0, 0, True),
        ("suspect=false", 25, 25, True),
        (since, 8, 8, True),
        (f"{since}&source=scheduled", 8, 8, True),
        ("since=2026-11-02T08:30:00Z", 20, 10, False),
        ("until=2026-11-02T08:45:00Z", 9, 9, True),
        ("until=2026-11-02T08:45:00Z&source=scheduled", 9, 9, True),
        ("until=2026-11-02T09:00:00Z", 12, 10, False),
    ):
        [page] = _pages(client, f"{query}&total=true")
        answer = len(page["items"]), page["total"], page["total_exact"]
        assert answer == (found, total, exact), query


def test_runs_of_several_stores_are_looked_through_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "_LOOKED_AT", 10)
    stores = {"default": "memory://", "second": "memory://"}
    scheduler = SteppedScheduler(stores=stores, clock=ManualClock(START))
    kept: dict[str, Any] = {"max_history": 100}
    scheduler.add_task(jobs.close_day, "interval", minutes=1, id="often", **kept)
    scheduler.add_task(jobs.close_day, "interval", minutes=7, id="rare", store="second", **kept)
    with scheduler:
        scheduler.advance(minutes=70)
        operations = Operations(scheduler, Actor(name="vera", role=Role.VIEWER))
        completed, manual = (
            list(_listed(operations, filters))
            for filters in (RunFilter(status=[RunState.COMPLETED]), RunFilter(source=Source.MANUAL))
        )
    ids = [run.id for page in completed for run in page.items]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 80
    # Ten of the one, and what the other has made meanwhile.
    assert {len(page.items) for page in completed} <= {11, 12}
    assert [len(page.items) for page in manual] == [0] * len(completed)


def test_runs_that_one_store_has_much_of_hide_none_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "_LOOKED_AT", 10)
    stores = {"default": "memory://", "second": "memory://"}
    scheduler = SteppedScheduler(stores=stores, clock=ManualClock(START))
    kept: dict[str, Any] = {"max_history": 100}
    scheduler.add_task(jobs.close_day, "interval", minutes=10, id="rare", **kept)
    scheduler.add_task(jobs.close_day, "interval", minutes=1, id="often", store="second", **kept)
    with scheduler:
        for _ in range(6):
            # Between them, the second store makes more than are looked at for a page.
            run = scheduler.run_task("often")
            scheduler.step()
            scheduler.advance(minutes=12)
        operations = Operations(scheduler, Actor(name="vera", role=Role.VIEWER))
        filters = RunFilter(source=Source.MANUAL)
        for _ in range(5):
            scheduler.run_task("rare")
        scheduler.step()
        pages = list(_listed(operations, filters, limit=2))
    found = [item for page in pages for item in page.items]
    assert [item.task_id for item in found] == ["rare"] * 5 + ["often"] * 6
    assert found[5].id == run.id


def test_the_tasks_of_a_page_of_runs_are_read_at_once(
    site: Site, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        site.scheduler.add_task(jobs.close_day, "interval", hours=1, id=f"t{number:02}", name="x")
    site.scheduler.advance(minutes=60)
    site.scheduler.remove_task("t07")
    asked: list[Any] = []
    find_tasks = SQLStore.find_tasks

    def note(store: SQLStore, query: TaskQuery) -> Any:
        asked.append(query.ids)
        return find_tasks(store, query)

    monkeypatch.setattr(SQLStore, "find_tasks", note)
    monkeypatch.setattr(SQLStore, "get_task", lambda _, task_id: asked.append(task_id))
    page = items(client.get("runs?limit=20"))
    assert {run["task_id"]: run["name"] for run in page if run["task_id"][0] == "t"} == {
        f"t{number:02}": "t07" if number == 7 else "x" for number in range(20)
    }
    assert asked == [frozenset(run["task_id"] for run in page)]


def _listed(
    operations: Operations, filters: RunFilter, limit: int = 50
) -> Iterator[Page[RunSummary]]:
    cursor: str | None = None
    while True:
        page = operations.list_runs(filters, limit=limit, cursor=cursor)
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return


def test_a_run_says_how_it_failed(busy: TestClient) -> None:
    summary = items(busy.get("runs?status=failed&limit=1"))[0]
    assert (summary["error_type"], summary["error_message"]) == ("ValueError", "it is Monday")
    assert "log" not in summary
    run = busy.get(f"runs/{summary['id']}").json()
    assert "in fail" in run["error"]["traceback"]
    log = busy.get(f"runs/{summary['id']}/log").json()
    assert (log["over"], log["status"], log["lines"]) == (True, "failed", [])
    assert problem(busy.get("runs/none")) == (404, "run-not-found")


def test_a_run_is_followed_and_ended(site: Site, client: TestClient) -> None:
    site.scheduler.add_task(jobs.hold, "date", run_at=START + timedelta(days=1), id="hold")
    run_id = client.post("tasks/hold/run").json()["id"]
    waiting = client.get(f"runs/{run_id}/progress").json()
    assert (waiting["over"], waiting["progress"]) == (False, None)
    ended = client.post(f"runs/{run_id}/cancel", json={"reason": "no more"})
    assert (ended.status_code, ended.json()["status"]) == (202, "cancelled")
    assert ended.json()["reason"] == "no more"
    assert problem(client.post(f"runs/{run_id}/cancel")) == (409, "conflict")
    jobs.go.set()
    again = client.post(f"runs/{run_id}/retry")
    assert (again.status_code, again.json()["retry_of"]) == (202, run_id)
    site.scheduler.step()
    told = client.get(f"runs/{again.json()['id']}/progress").json()
    assert (told["over"], told["status"]) == (True, "completed")
    assert told["progress"]["message"] == "half of it"
    actions = [(entry["action"], entry["outcome"]) for entry in items(client.get("audit"))]
    assert actions == [
        ("runs.retry", "done"),
        ("runs.cancel", "failed"),
        ("runs.cancel", "done"),
        ("tasks.run", "done"),
    ]


def test_what_is_under_way_is_not_retried(site: Site, client: TestClient) -> None:
    run_id = client.post("tasks/close/run").json()["id"]
    assert problem(client.post(f"runs/{run_id}/retry")) == (409, "conflict")


def test_failures_since_an_instant_are_retried_after_they_were_counted(
    site: Site, busy: TestClient
) -> None:
    since = (START + timedelta(minutes=60)).isoformat()
    asked = {"filter": {"since": since}}
    counted = busy.post("runs/retry", json=asked).json()
    assert (counted["count"], counted["applied"]) == (2, False)
    sure = {**asked, "dry_run": False}
    assert problem(busy.post("runs/retry", json={**sure, "expected_count": 3})) == (
        409,
        "count-changed",
    )
    done = busy.post("runs/retry", json={**sure, "expected_count": 2}).json()
    assert (done["done"], done["failed"]) == (2, [])
    retried = items(busy.get("runs?source=manual"))
    assert {run["retry_of"] for run in retried} == set(counted["sample"])
    running = {"filter": {"status": ["running"]}}
    assert problem(busy.post("runs/retry", json=running)) == (422, "invalid-input")


def test_runs_are_forgotten_after_they_were_counted(busy: TestClient) -> None:
    before = {"before": (START + timedelta(minutes=60)).isoformat()}
    counted = busy.post("runs/prune", json=before).json()
    # Some of the runs made at that instant were over at it, and not before it.
    assert counted == {"count": 14, "applied": False, "gone": 0}
    assert busy.get("runs?total=true").json()["total"] == 34
    done = busy.post("runs/prune", json={**before, "dry_run": False}).json()
    assert (done["applied"], done["gone"]) == (True, 13)
    assert busy.get("runs?total=true").json()["total"] == 21


def test_nodes_stores_executors_locks_and_leaders_are_seen(site: Site, client: TestClient) -> None:
    site.scheduler.step()
    nodes = client.get("nodes").json()
    assert [node["store"] for node in nodes] == ["default", "local"]
    stores = {store["name"]: store for store in client.get("stores").json()}
    assert stores["default"]["kind"] == "sqlalchemy"
    assert stores["default"]["tasks"]["scheduled"] == 2
    executors = {each["name"]: each for each in client.get("executors").json()}
    assert set(executors) == {"asyncio", "processpool", "threadpool"}
    assert executors["asyncio"]["nodes"] == sorted(node["id"] for node in nodes)
    assert client.get("locks").json() == []
    with Lock("till", scheduler=site.scheduler):
        [held] = client.get("locks").json()
        assert (held["name"], held["kind"], held["held"]) == ("till", "lock", True)
    leader = LeaderElection("boss", scheduler=site.scheduler)
    assert leader.name == "boss"
    version = client.get("version").json()
    assert (version["api"], version["state"], version["auth"]) == ("v1", "started", "none")


def test_the_audit_log_is_paged_and_filtered(site: Site, client: TestClient) -> None:
    for number in range(5):
        client.post("tasks/close/pause", json={"reason": f"r{number}"})
        site.scheduler.advance(seconds=1)
    client.post("tasks/fails/pause")
    site.scheduler.advance(seconds=1)
    first = client.get("audit?limit=4").json()
    second = client.get(f"audit?limit=4&cursor={first['next_cursor']}").json()
    assert [len(first["items"]), len(second["items"])] == [4, 2]
    assert second["next_cursor"] is None
    assert first["items"][0]["target"] == "fails"
    assert len(items(client.get("audit?target=close&action=tasks.pause"))) == 5
    assert items(client.get("audit?actor=nobody")) == []
    assert items(client.get("audit?action=tasks.run")) == []


def test_what_is_refused_has_its_entry_too(site: Site) -> None:
    actor = Actor(name="vera", role=Role.VIEWER, via=Via.CLI, address="here")
    operations = Operations(site.scheduler, actor)
    with pytest.raises(AccessDeniedError, match=r"tasks.remove takes the role admin"):
        operations.remove_task("close")
    admin = Operations(site.scheduler, Actor(name="ada", role=Role.ADMIN))
    [entry] = admin.list_audit().items
    assert (entry.actor, entry.via, entry.address) == ("vera", "cli", "here")
    assert (entry.action, entry.target, entry.outcome) == ("tasks.remove", "close", "refused")
    admin.remove_task("close")
    [entry, _] = admin.list_audit().items
    assert (entry.outcome, entry.via) == ("done", "code")
    assert entry.before is not None
    assert entry.before["trigger_description"] == "every 5 minutes"
