"""Who paused a task, when and why is seen by all who see the task."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service import jobs
from tests.service.conftest import START, Site, opened
from tests.service.dashboard.browsing import browser_of
from tests.unit.stores.test_sql_costs import statements
from tickwork.interfaces import Keeping, StoreEnvironment
from tickwork.model.definition import DefinitionCodec
from tickwork.service.actors import Actor
from tickwork.service.models import BulkRequest, Pause, TaskChange, TaskFilter, TaskView
from tickwork.service.operations import Operations
from tickwork.service.pauses import Pauses
from tickwork.service.roles import Role
from tickwork.stores.memory import MemoryStore
from tickwork.stores.sql import SQLStore
from tickwork.wiring import load_trigger

REASON = {"reason": "the warehouse moves"}


def who(task: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    return task["paused_by"], task["paused_at"], task["paused_reason"]


@pytest.mark.parametrize("role", list(Role))
def test_everybody_who_sees_a_task_sees_who_paused_it(tmp_path: Path, role: Role) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        site.with_token(Role.OPERATOR).post("tasks/close/pause", json=REASON)
        site.scheduler.advance(seconds=90)
        client = site.with_token(role)
        listed = {task["id"]: task for task in client.get("tasks").json()["items"]}
        expected = ("operator", "2026-11-02T08:00:00Z", REASON["reason"])
        assert who(client.get("tasks/close").json()) == expected
        assert who(listed["close"]) == expected
        assert who(listed["fails"]) == (None, None, None)
        assert client.get("audit").status_code == (200 if role is Role.ADMIN else 403)
        browser = browser_of(site, role.value)
        told = "the warehouse moves · by operator 1 min 30 s ago · until somebody resumes it"
        assert told in browser.get("/tasks/close").words
        assert "by operator: the warehouse moves" in browser.get("/tasks").words


def test_who_resumes_ends_it_and_who_pauses_anew_is_named(guarded: Site) -> None:
    operator, admin = guarded.with_token(Role.OPERATOR), guarded.with_token(Role.ADMIN)
    assert operator.post("tasks/close/pause", json=REASON).json()["paused_by"] == "operator"
    assert operator.post("tasks/close/resume").json()["paused_by"] is None
    assert admin.post("tasks/close/pause").json()["paused_by"] == "admin"
    assert operator.get("tasks/close").json()["paused_by"] == "admin"
    assert admin.post("tasks/close/resume").status_code == 200


def test_an_edit_of_a_paused_task_leaves_who_paused_it(site: Site) -> None:
    client = site.client()
    client.post("tasks/close/pause", json=REASON)
    changed = client.patch("tasks/close", json={"retries": 2}).json()
    assert changed["task"]["paused_by"] == "anybody"
    assert [each["field"] for each in changed["changes"]] == ["retries"]


def test_a_next_fire_that_is_taken_away_is_a_pause(site: Site) -> None:
    client = site.client()
    changed = client.patch("tasks/close", json={"next_run_time": None}).json()
    assert changed["task"]["paused_by"] == "anybody"
    assert {each["field"] for each in changed["changes"]} == {"schedule_state", "next_run_time"}


def test_a_task_can_be_made_paused(tmp_path: Path) -> None:
    with opened(tmp_path, allow="tests.service.jobs:*") as site:
        new = {"function": "tests.service.jobs:other", "schedule": "5m", "paused": True}
        assert site.client().post("tasks", json=new).json()["paused_by"] == "anybody"


def test_many_are_paused_by_somebody_and_go_on(site: Site) -> None:
    operations = operations_of(site)
    request = BulkRequest(action="pause", dry_run=False, expected_count=2, reason="all")
    assert operations.bulk_tasks(request).done == 2
    assert [task.paused_by for task in operations.list_tasks().items] == ["anybody"] * 2
    going = BulkRequest(action="resume", dry_run=False, expected_count=2)
    assert operations.bulk_tasks(going).done == 2
    assert [task.paused_by for task in operations.list_tasks().items] == [None] * 2


@pytest.mark.parametrize(
    "again",
    [
        {"reason": "code says so"},
        {"reason": REASON["reason"], "until": START + timedelta(days=1)},
        {},
    ],
)
def test_what_code_pauses_is_not_said_to_be_somebodys(site: Site, again: dict[str, Any]) -> None:
    client = site.client()
    client.post("tasks/close/pause", json=REASON)
    site.scheduler.resume_task("close")
    site.scheduler.pause_task("close", **again)
    assert client.get("tasks/close").json()["paused_by"] is None


def test_a_task_of_the_same_id_is_another_one(site: Site) -> None:
    client = site.client()
    client.post("tasks/close/pause", json=REASON)
    site.scheduler.remove_task("close")
    site.scheduler.advance(seconds=1)
    site.scheduler.add_task(jobs.other, "interval", minutes=5, id="close")
    site.scheduler.pause_task("close", reason=REASON["reason"])
    assert client.get("tasks/close").json()["paused_by"] is None


def test_a_pause_that_ends_by_itself_is_nobodys_any_more(site: Site) -> None:
    client = site.client()
    until = START + timedelta(hours=1)
    client.post("tasks/close/pause", json={"until": until.isoformat()})
    assert client.get("tasks/close").json()["paused_by"] == "anybody"
    site.scheduler.advance(hours=2)
    task = client.get("tasks/close").json()
    assert (task["schedule_state"], task["paused_by"]) == ("scheduled", None)


def operations_of(site: Site) -> Operations:
    return site.service.operations(Actor(name="anybody", role=Role.ADMIN))


@pytest.mark.parametrize("count", [2, 60])
def test_a_page_of_tasks_takes_one_statement_more_for_all_of_them(site: Site, count: int) -> None:
    operations = operations_of(site)
    for number in range(count):
        site.scheduler.add_task(jobs.other, "interval", minutes=1, id=f"p{number}", tags=["many"])
    many = TaskFilter(tag="many")
    store = site.service.reach.stores["default"]
    assert isinstance(store, SQLStore)
    with statements(store) as before:
        operations.list_tasks(many)
    request = BulkRequest(action="pause", filter=many, dry_run=False, expected_count=count)
    assert operations.bulk_tasks(request).done == count
    with statements(store) as after:
        page = operations.list_tasks(many)
    assert [task.paused_by for task in page.items] == ["anybody"] * count
    assert reads(after)[:-1] == reads(before)
    assert "FROM tickwork_documents" in reads(after)[-1]


def reads(sent: list[tuple[str, Any]]) -> list[str]:
    return [statement for statement, _ in sent if statement != "BEGIN"]


class Shelves(MemoryStore):
    """A store that counts how often documents are asked for."""

    looks = 0

    def documents(self, query: Any) -> Any:
        self.looks += 1
        return super().documents(query)


def shelves() -> Shelves:
    store = Shelves()
    store.open(StoreEnvironment(DefinitionCodec(load_trigger), lambda: 1))
    return store


def paused(task_id: str, reason: str | None = None) -> TaskView:
    fields = dict.fromkeys((n for n, f in TaskView.model_fields.items() if f.is_required()), "x")
    fields |= {"id": task_id, "schedule_state": "paused"}
    return TaskView.model_validate({**fields, "paused_reason": reason})


def named(pauses: Pauses, *task_ids: str) -> dict[str, str | None]:
    return {task.id: task.paused_by for task in pauses.named([paused(each) for each in task_ids])}


def test_pauses_are_found_among_many_others() -> None:
    store = shelves()
    assert isinstance(store, Keeping)
    pauses = Pauses(store, "default", lambda: 1)
    for number in range(2_000):
        pauses.note(f"{number:04}", f"user{number}", Pause())
    store.looks = 0
    assert named(pauses, "1999", "0000", "none") == {
        "1999": "user1999", "0000": "user0", "none": None,
    }  # fmt: skip
    # A page of all that lie between, and then at once where the next one is.
    assert store.looks == 2


def test_stores_do_not_know_each_others_pauses() -> None:
    store = shelves()
    Pauses(store, "one", lambda: 1).note("a", "ada", Pause())
    assert named(Pauses(store, "one", lambda: 1), "a") == {"a": "ada"}
    assert named(Pauses(store, "two", lambda: 1), "a") == {"a": None}


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(ids=st.lists(TEXTS.map(lambda text: text[:191]), min_size=1, unique=True), data=st.data())
def test_whatever_ids_are_each_is_found(ids: list[str], data: st.DataObject) -> None:
    pauses = Pauses(shelves(), "default", lambda: 1)
    known = data.draw(st.lists(st.sampled_from(ids), unique=True))
    for each in known:
        pauses.note(each, f"by {each}"[:50], Pause())
    expected = {each: f"by {each}"[:50] if each in known else None for each in ids}
    assert named(pauses, *ids) == expected


def test_an_edit_may_not_say_who_paused() -> None:
    assert not {"paused_by", "paused_at"} & TaskChange.model_fields.keys()
