"""Tasks over REST."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service import jobs
from tests.service.conftest import START, Site, opened

MINUTE = timedelta(minutes=1)


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["type"].removeprefix("urn:tickwork:error:")


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def audited(client: TestClient, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("audit", params=query).json()["items"]
    return found


# --- listing --------------------------------------------------------------------------------------


@pytest.fixture
def many(site: Site) -> TestClient:
    """Return who asks a service with 25 more tasks, of which two are paused."""
    site.scheduler.add_tasks(
        {
            "fn": jobs.other,
            "trigger": "interval",
            "minutes": 1 + number,
            "id": f"t{number:02}",
            "name": f"name {number % 3}",
            "tags": ["odd"] if number % 2 else [],
            "paused": number >= 23,
        }
        for number in range(25)
    )
    return site.client()


@pytest.mark.parametrize("sort", ["id", "-id", "name", "-name", "next_run_time", "-created_at"])
def test_pages_hold_each_task_once_in_the_order_asked_for(many: TestClient, sort: str) -> None:
    whole = ids(many.get("tasks", params={"sort": sort, "limit": 1_000}))
    assert len(whole) == len(set(whole)) == 27
    found: list[str] = []
    query: dict[str, Any] = {"sort": sort, "limit": 10, "total": True}
    sizes = []
    while True:
        page = many.get("tasks", params=query)
        found += ids(page)
        sizes.append(len(page.json()["items"]))
        assert page.json()["total"] == 27
        query["cursor"] = page.json()["next_cursor"]
        if query["cursor"] is None:
            break
    assert sizes == [10, 10, 7]
    assert found == whole


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"state": "paused"}, 2),
        ({"tag": "odd"}, 12),
        ({"tag": "odd", "state": "paused"}, 1),
        ({"search": "NAME 1"}, 8),
        ({"function": "tests.service.jobs:other"}, 25),
        ({"trigger": "cron"}, 1),
        ({"executor": "asyncio"}, 0),
        ({"store": "local"}, 0),
        ({"store": "default"}, 27),
        ({"failing": "true"}, 0),
        ({"late": "true"}, 0),
    ],
)
def test_conditions_are_the_stores_work(
    many: TestClient, query: dict[str, str], count: int
) -> None:
    answer = many.get("tasks", params={**query, "total": True, "limit": 3})
    assert answer.json()["total"] == count
    assert len(ids(answer)) == min(count, 3)


def test_late_and_failing_tasks_are_found(site: Site, client: TestClient) -> None:
    site.scheduler.advance(minutes=1)
    site.scheduler.pause()
    site.scheduler.clock.set(site.scheduler.clock.now_us() + 5 * 60 * 1_000_000)
    assert ids(client.get("tasks?late=true")) == ["close"]
    site.scheduler.resume()
    site.scheduler.advance(minutes=1)
    assert ids(client.get("tasks?late=true")) == []
    assert ids(client.get("tasks?failing=true")) == ["fails"]


@pytest.mark.parametrize(
    "query",
    ["cursor=nonsense", "cursor=WzEsMl0", "sort=colour", "limit=0", "limit=1001", "stat=paused"],
)
def test_what_makes_no_sense_in_a_query_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"tasks?{query}").status_code == 422


def test_a_cursor_belongs_to_its_order(many: TestClient) -> None:
    cursor = many.get("tasks?limit=1&sort=name").json()["next_cursor"]
    refused = many.get(f"tasks?limit=1&sort=id&cursor={cursor}")
    assert problem(refused) == (422, "invalid-input")
    assert problem(many.get("tasks?store=none")) == (404, "not-found")


# --- one task -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b", "a b", "100%", "ä", "a?b#c", "x/pause", "..", "é/ü%"])
def test_any_id_can_be_in_a_path(site: Site, client: TestClient, name: str) -> None:
    from tickwork.service.paths import in_path

    site.scheduler.add_task(jobs.other, "interval", minutes=1, id=name)
    path = f"tasks/{in_path(name).replace('..', '%2E%2E')}"
    assert client.get(path).json()["id"] == name
    assert client.post(f"{path}/pause").json()["schedule_state"] == "paused"
    assert client.delete(path).status_code == 204
    assert problem(client.get(path)) == (404, "task-not-found")


def test_edits_of_two_people_do_not_overwrite_each_other(client: TestClient) -> None:
    etag = client.get("tasks/close").headers["ETag"]
    first = client.patch("tasks/close", json={"priority": 5}, headers={"If-Match": etag})
    assert first.status_code == 200
    assert first.json()["changes"] == [{"field": "priority", "before": 0, "after": 5}]
    second = {"If-Match": etag}
    for answer in (
        client.patch("tasks/close", json={"priority": 9}, headers=second),
        client.post("tasks/close/pause", headers=second),
        client.post("tasks/close/resume", headers=second),
        client.post("tasks/close/reschedule", json={"schedule": "1h"}, headers=second),
        client.delete("tasks/close", headers=second),
    ):
        assert problem(answer) == (412, "stale-edit")
    task = client.get("tasks/close")
    assert task.json()["priority"] == 5
    assert task.headers["ETag"] == first.headers["ETag"] == f'"{task.json()["etag"]}"'
    for others in ("*", '"other", '):
        match = others if others == "*" else others + task.headers["ETag"]
        again = client.patch("tasks/close", json={"name": "x"}, headers={"If-Match": match})
        assert again.status_code == 200
        task = client.get("tasks/close")
    refused = client.patch("tasks/close", json={"name": "y"}, headers={"If-Match": "x"})
    assert problem(refused) == (422, "invalid-input")


def test_a_dry_run_says_what_would_be_and_does_nothing(client: TestClient) -> None:
    before = client.get("tasks/close")
    change = {"schedule": "0 9 * * *", "timezone": "Europe/Berlin", "tags": ["x"], "retries": 2}
    told = client.patch("tasks/close?dry_run=true", json=change)
    assert told.json()["applied"] is False
    assert told.headers["ETag"] == before.headers["ETag"]
    changed = {each["field"]: (each["before"], each["after"]) for each in told.json()["changes"]}
    assert changed["tags"] == (["daily"], ["x"])
    assert changed["retries"] == (0, 2)
    assert changed["timezone"] == (None, "Europe/Berlin")
    assert changed["trigger_alias"] == ("interval", "cron")
    assert told.json()["fire_times"][:2] == ["2026-11-03T08:00:00Z", "2026-11-04T08:00:00Z"]
    assert client.get("tasks/close").json() == before.json()
    assert audited(client) == []
    done = client.patch("tasks/close", json=change, headers={"If-Match": told.headers["ETag"]})
    assert done.json()["applied"] is True
    assert done.json()["changes"] == told.json()["changes"]
    assert done.json()["fire_times"] == told.json()["fire_times"]
    [entry] = audited(client)
    assert (entry["action"], entry["outcome"]) == ("tasks.change", "done")
    assert entry["after"]["retries"] == {"before": 0, "after": 2}


def test_a_schedule_is_said_in_one_way(client: TestClient) -> None:
    path = "tasks/close/reschedule"
    spelled = {"trigger": "or", "arguments": {"triggers": [
        {"trigger": "interval", "arguments": {"hours": 1}},
        {"trigger": "cron", "arguments": {"hour": 9}},
    ]}}  # fmt: skip
    answer = client.post(path, json=spelled)
    assert answer.json()["task"]["trigger_alias"] == "or"
    assert answer.json()["fire_times"][0] == "2026-11-02T09:00:00Z"
    for wrong in (
        {},
        {"schedule": "5m", "trigger": "cron"},
        {"schedule": "99 99 * * *"},
        {"schedule": "soon"},
        {"arguments": {"hour": 1}},
        {"trigger": "nonsense"},
        {"trigger": "cron", "arguments": {"colour": 1}},
        {"trigger": "or", "arguments": {"triggers": ["x"]}},
        {"schedule": "0 8 * * *", "timezone": "Atlantis"},
        {"schedule": "5m", "hour": 8},
    ):
        assert client.post(path, json=wrong).status_code == 422, wrong
    assert client.get("tasks/close").json()["trigger_alias"] == "or"


def test_a_pause_says_why_and_until_when(site: Site, client: TestClient) -> None:
    until = (START + 12 * MINUTE).isoformat()
    paused = client.post("tasks/close/pause", json={"reason": "a release", "until": until})
    assert paused.json()["schedule_state"] == "paused"
    assert paused.json()["paused_reason"] == "a release"
    assert paused.json()["paused_until"] == "2026-11-02T08:12:00Z"
    site.scheduler.advance(minutes=15)
    runs = client.get("runs?task=close").json()["items"]
    assert [(run["status"], run["fire_count"]) for run in runs] == [
        ("completed", 1),
        ("skipped", 2),
    ]
    assert runs[1]["reason"] == "the task was paused: a release"
    for wrong in ({"until": START.isoformat()}, {"until": "2026-12-01T00:00:00"}, {"reason": " "}):
        assert client.post("tasks/close/pause", json=wrong).status_code == 422
    assert client.post("tasks/close/pause").json()["paused_until"] is None
    assert client.post("tasks/close/resume").json()["schedule_state"] == "scheduled"
    actions = [entry["action"] for entry in audited(client, target="close")]
    assert actions == ["tasks.resume", "tasks.pause", "tasks.pause", "tasks.pause"]


def test_a_run_beside_the_schedule(site: Site, client: TestClient) -> None:
    run = client.post("tasks/close/run")
    assert (run.status_code, run.json()["source"]) == (202, "manual")
    site.scheduler.step()
    found = client.get(f"runs/{run.json()['id']}").json()
    assert (found["status"], found["result"]) == ("completed", "berlin")
    [entry] = audited(client)
    assert (entry["action"], entry["after"]) == ("tasks.run", {"run": run.json()["id"]})


# --- creating -------------------------------------------------------------------------------------


NEW = {"function": "tests.service.jobs:close_day", "schedule": "0 8 * * *", "id": "new"}


def test_a_task_is_made_of_a_function_that_is_declared(site: Site, client: TestClient) -> None:
    answer = client.post("tasks", json={**NEW, "args": ["ulm"], "tags": ["x"], "paused": True})
    assert answer.status_code == 201
    assert answer.headers["Location"] == "/api/v1/tasks/new"
    assert answer.headers["ETag"] == f'"{answer.json()["etag"]}"'
    assert answer.json()["schedule_state"] == "paused"
    assert site.scheduler.get_task_info("new").args == ["ulm"]
    assert problem(client.post("tasks", json=NEW)) == (409, "conflicting-task")
    [refused, made] = audited(client)
    assert (refused["outcome"], made["outcome"]) == ("failed", "done")
    assert refused["error"].startswith("ConflictingTaskError: ")


@pytest.mark.parametrize(
    "function", ["os:system", "tests.service.jobs:other", "tests.service.jobs:Path", "shop:close"]
)
def test_no_task_is_made_of_any_other_function(client: TestClient, function: str) -> None:
    import sys

    answer = client.post("tasks", json={**NEW, "function": function})
    assert problem(answer) == (403, "function-not-allowed")
    assert "shop" not in sys.modules
    assert len(ids(client.get("tasks"))) == 2


@pytest.mark.parametrize(
    ("function", "status"),
    [
        ("tests.service.jobs:other", 201),
        ("tests.service.jobs:go", 422),
        ("tests.service.jobs:Path", 403),
        ("tests.service.jobs:threading.Thread", 403),
        ("tests.service.jobs:none", 422),
        ("os:system", 403),
    ],
)
def test_a_pattern_allows_what_is_defined_in_a_module(
    tmp_path: Path, function: str, status: int
) -> None:
    with opened(tmp_path, allow=("tests.service.jobs:*",)) as site:
        answer = site.client().post("tasks", json={**NEW, "function": function})
        assert answer.status_code == status, answer.text
        listed = [each["reference"] for each in site.client().get("functions").json()]
        assert "tests.service.jobs:*" in listed


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": "nonsense"},
        {"schedule": None},
        {"kwargs": {"colour": 1}},
        {"args": [1, 2, 3]},
        {"executor": "none"},
        {"colour": 1},
        {"retries": -1},
        {"function": "close_day"},
        {"next_run_time": 5},
    ],
)
def test_what_could_never_work_is_refused_at_the_door(
    client: TestClient, wrong: dict[str, Any]
) -> None:
    answer = client.post("tasks", json={**NEW, **wrong})
    if wrong == {"schedule": None}:
        # Once, now.
        assert answer.json()["trigger_alias"] == "date"
    else:
        assert answer.status_code == 422, answer.text
        assert ids(client.get("tasks?search=new")) == []


def test_a_request_that_comes_again_is_answered_as_before(site: Site, client: TestClient) -> None:
    once = {"Idempotency-Key": "k1"}
    new = {name: value for name, value in NEW.items() if name != "id"}
    new |= {"schedule": "2027-01-01 08:00"}
    first = client.post("tasks", json=new, headers=once)
    again = client.post("tasks", json=new, headers=once)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"]
    assert len(ids(client.get("tasks"))) == 3
    assert client.post("tasks", json=new).json()["id"] != first.json()["id"]
    other = client.post("tasks", json={**new, "priority": 1}, headers=once)
    assert problem(other) == (422, "key-reused")
    runs = {client.post("tasks/close/run", headers={"Idempotency-Key": "r"}).json()["id"]
            for _ in range(3)}  # fmt: skip
    assert len(runs) == 1
    # What fails may be tried again, and after a day all is forgotten.
    retried = {"Idempotency-Key": "k2"}
    assert client.post("tasks", json={**new, "args": [1, 2]}, headers=retried).status_code == 422
    assert client.post("tasks", json=new, headers=retried).status_code == 201
    site.scheduler.advance(days=1, seconds=1)
    late = client.post("tasks", json=new, headers=once)
    assert late.json()["id"] != first.json()["id"]


# --- many -----------------------------------------------------------------------------------------


def test_many_are_counted_first_and_then_done(many: TestClient) -> None:
    bulk = {"action": "pause", "filter": {"tag": "odd", "state": "scheduled"}, "reason": "why"}
    counted = many.post("tasks/bulk", json=bulk).json()
    assert (counted["count"], counted["applied"], counted["done"]) == (11, False, 0)
    assert counted["sample"] == [f"t{number:02}" for number in range(1, 23, 2)]
    sure = {**bulk, "dry_run": False}
    assert problem(many.post("tasks/bulk", json=sure)) == (422, "invalid-input")
    wrong = many.post("tasks/bulk", json={**sure, "expected_count": 12})
    assert problem(wrong) == (409, "count-changed")
    assert len(ids(many.get("tasks?state=paused"))) == 2
    done = many.post("tasks/bulk", json={**sure, "expected_count": 11}).json()
    assert (done["count"], done["done"], done["failed"]) == (11, 11, [])
    assert len(ids(many.get("tasks?state=paused"))) == 13
    [entry] = audited(many)
    assert (entry["target"], entry["after"]["done"]) == ("bulk: 11 tasks", 11)
    remove = {"action": "remove", "filter": {"search": "t0"}, "dry_run": False}
    done = many.post("tasks/bulk", json={**remove, "expected_count": 10}).json()
    assert (done["done"], len(ids(many.get("tasks")))) == (10, 17)
    run = {"action": "run", "filter": {"search": "t1"}, "dry_run": False, "expected_count": 10}
    assert many.post("tasks/bulk", json=run).json()["done"] == 10
    assert many.get("runs?source=manual&total=true").json()["total"] == 10
    resume = {"action": "resume", "filter": {"state": "paused"}, "dry_run": False}
    assert many.post("tasks/bulk", json={**resume, "expected_count": 8}).json()["done"] == 8
    refused = many.post("tasks/bulk", json={**resume, "reason": "x"})
    assert problem(refused) == (422, "invalid-input")


# --- what is hidden -------------------------------------------------------------------------------


def test_arguments_are_hidden_by_name_everywhere(tmp_path: Path) -> None:
    secret = "s3cr3t"  # noqa: S105  of nobody
    with opened(tmp_path, allow=("tests.service.jobs:*",)) as site:
        client = site.client()
        new = {
            "function": "tests.service.jobs:log_in_somewhere",
            "id": "h",
            "schedule": "1h",
            "args": ["ada", secret],
            "kwargs": {"options": {"password": secret, "mode": "x"}},
        }
        shown = client.post("tasks", json=new).json()
        assert shown["args"] == ["ada", "(hidden)"]
        assert shown["kwargs"] == {"options": {"password": "(hidden)", "mode": "x"}}
        assert shown["hidden"] == ["api_token", "password"]
        assert site.scheduler.get_task_info("h").args == ["ada", secret]
        # What stands as hidden stays as it is.
        args = ["eva", "(hidden)"]
        kwargs = {"options": {"password": "(hidden)", "mode": "y"}}
        change = {"args": args, "kwargs": kwargs}
        preview = client.patch("tasks/h?dry_run=true", json=change)
        changed = client.patch("tasks/h", json=change)
        assert site.scheduler.get_task_info("h").args == ["eva", secret]
        assert site.scheduler.get_task_info("h").kwargs["options"] == {
            "password": secret, "mode": "y",
        }  # fmt: skip
        lost = client.patch("tasks/h", json={"args": ["eva"], "kwargs": {"api_token": "(hidden)"}})
        assert problem(lost) == (409, "conflict")
        client.delete("tasks/h")
        told = [preview, changed, client.get("audit"), client.get("runs"), client.get("tasks")]
        assert [answer.text.count(secret) for answer in told] == [0] * 5


def test_without_its_function_no_place_is_shown(tmp_path: Path) -> None:
    from tickwork import Scheduler
    from tickwork.service.actors import Actor
    from tickwork.service.operations import Operations
    from tickwork.service.roles import Role
    from tickwork.service.rules import Rules

    url = f"sqlite:///{tmp_path}/tasks.db"
    with Scheduler(url).connect() as scheduler:
        scheduler.add_task(jobs.close_day, "interval", hours=1, id="c", args=["ulm"])
    with Scheduler(url).connect(create=False) as scheduler:
        actor = Actor(name="x", role=Role.VIEWER)
        assert Operations(scheduler, actor).get_task("c").args == ["(hidden)"]
        assert Operations(scheduler, actor, Rules(hide=())).get_task("c").args == ["ulm"]


def test_what_an_edit_changes_is_told_once_its_function_is_known(tmp_path: Path) -> None:
    """Before, all places are hidden: that is no change of theirs, and what they were stays so."""
    from tickwork import Scheduler
    from tickwork.service.actors import Actor
    from tickwork.service.models import TaskChange
    from tickwork.service.operations import Operations
    from tickwork.service.roles import Role

    url = f"sqlite:///{tmp_path}/tasks.db"
    with Scheduler(url).connect() as scheduler:
        scheduler.add_task(jobs.close_day, "interval", hours=1, id="c", args=["ulm"])
    with Scheduler(url).connect(create=False) as scheduler:
        operations = Operations(scheduler, Actor(name="x", role=Role.ADMIN))
        change = TaskChange(args=["bonn"])
        for dry_run in (True, False):
            told = operations.change_task("c", change, dry_run=dry_run).changes
            assert [(each.field, each.before, each.after) for each in told] == [
                ("args", ["ulm"], ["bonn"])
            ]


# --- previews -------------------------------------------------------------------------------------


def test_a_schedule_is_previewed_on_its_own_clocks(client: TestClient) -> None:
    asked = {"schedule": "0 9 * * *", "timezone": "America/New_York", "count": 2}
    answer = client.post("preview", json=asked).json()
    assert answer["kind"] == "cron"
    assert answer["fire_times"] == ["2026-11-02T14:00:00Z", "2026-11-03T14:00:00Z"]
    assert answer["local_times"] == ["2026-11-02T09:00:00-05:00", "2026-11-03T09:00:00-05:00"]
    assert client.get("tasks/close/fires?count=2").json() == [
        "2026-11-02T08:05:00Z",
        "2026-11-02T08:10:00Z",
    ]
