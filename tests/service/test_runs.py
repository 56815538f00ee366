"""Runs over REST, and what else can be seen."""

from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service import jobs
from tests.service.conftest import START, Site
from tickwork.coordination import LeaderElection, Lock
from tickwork.service.actors import Actor, Via
from tickwork.service.errors import AccessDeniedError
from tickwork.service.operations import Operations
from tickwork.service.roles import Role


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
