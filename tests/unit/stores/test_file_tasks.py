"""The files of tasks: what people see, what they may do to them, and what their names are."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickwork.errors import StoreUnavailableError
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.steps import Edit
from tickwork.stores.file import FileStore, disk
from tickwork.stores.file.names import file_name, id_of
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import MINUTE, T0, pending, removed, runs_now, task
from tickwork.triggers import IntervalTrigger


class Folder:
    """A folder with one client on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bench = self._new()

    def _new(self) -> Bench:
        store = FileStore(self.path, durability="normal")
        bench = Bench(store, store)
        bench.open()
        return bench

    def again(self) -> Bench:
        """Close the client, and open another."""
        self.bench.close()
        self.bench = self._new()
        return self.bench

    def crash(self) -> None:
        """End the client as a crash does."""
        assert isinstance(self.bench.store, FileStore)
        self.bench.store.forsake()

    def file(self, task_id: str = "task") -> Path:
        return self.path / "tasks" / file_name(task_id)

    def content(self, task_id: str = "task") -> dict[str, Any]:
        data = json.loads(self.file(task_id).read_text("utf-8"))
        assert isinstance(data, dict)
        return data

    def write(self, data: object, task_id: str = "task") -> None:
        self.file(task_id).write_text(json.dumps(data), "utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "store")
    yield folder
    folder.bench.close()


# --- what people see --------------------------------------------------------------------------


def test_a_file_can_be_read_by_people(folder: Folder) -> None:
    folder.bench.put(
        task("Nightly", name="Nächtlich", payload='{"args":["Köln"],"kwargs":{"n":1}}')
    )
    assert folder.file("Nightly").name == "+nightly.json"
    assert folder.file("Nightly").read_text("utf-8") == (
        "{\n"
        '  "id": "Nightly",\n'
        '  "state": "scheduled",\n'
        '  "definition": {\n'
        '    "version": 1,\n'
        '    "function": "shop.jobs:close_day",\n'
        '    "name": "Nächtlich",\n'
        '    "payload": {"args":["Köln"],"kwargs":{"n":1}},\n'
        '    "trigger": {"kind":"interval","version":1,"interval_us":60000000}\n'
        "  },\n"
        '  "generation": 1,\n'
        '  "revision": 0,\n'
        '  "anchor_us": 0,\n'
        '  "made": 0,\n'
        '  "streak": 0,\n'
        '  "created_us": 1767225600000000,\n'
        '  "updated_us": 1767225600000000,\n'
        '  "fire_us": 1767225600000000,\n'
        '  "due_us": 1767225600000000,\n'
        '  "readable": {\n'
        '    "fire": "2026-01-01 00:00:00+00:00",\n'
        '    "due": "2026-01-01 00:00:00+00:00",\n'
        '    "created": "2026-01-01 00:00:00+00:00",\n'
        '    "updated": "2026-01-01 00:00:00+00:00"\n'
        "  }\n"
        "}\n"
    )


def test_files_follow_their_tasks(folder: Folder) -> None:
    bench = folder.bench
    bench.put(task("a"), task("b"))
    bench.plan()
    assert [folder.content(each)["state"] for each in "ab"] == ["finished"] * 2
    bench.edit(removed(), "a")
    assert [path.name for path in (folder.path / "tasks").iterdir()] == ["b.json"]


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "plain",
        '"text"',
        "[1,2]",
        '{"a": 1}',
        '{"a":1,"a":2}',
        '{"a":1.0e5}',
        '{"a":"\\u00e4"}',
        '{"a":"ä\\u2028"}',
        '{"a":{"payload":"{}"}}',
        '{"payload":"{\\"a\\":1}"}',
        "\ud800",
        "1" * 5_000,
        "[" * 5_000,
    ],
)
def test_arguments_come_back_as_the_very_same_text(folder: Folder, payload: str) -> None:
    expected = task(payload=payload)
    folder.bench.put(expected)
    assert folder.again().task() == expected
    folder.bench.edit(lambda record: Edit(replace(record, problem="seen")))
    folder.crash()
    assert folder.again().task() == replace(expected, problem="seen", revision=1)


def test_an_instant_beyond_the_calendar_is_no_reason_to_fail(folder: Folder) -> None:
    folder.bench.put(task(due_us=10**18))
    assert folder.content()["readable"]["due"] == "beyond the calendar"
    assert folder.again().task().due_us == 10**18


# --- what people do ---------------------------------------------------------------------------


def edited(content: dict[str, Any]) -> dict[str, Any]:
    trigger = {"kind": "interval", "version": 1, "interval_us": 5_000_000}
    definition = {**content["definition"], "trigger": trigger, "payload": {"args": [2]}}
    return {**content, "definition": definition, "due_us": T0 + 7, "state": "paused"}


@pytest.mark.parametrize("end", ["clean", "crash"])
def test_an_edit_counts_at_the_next_start(folder: Folder, end: str) -> None:
    folder.bench.put(task(due_us=T0 + MINUTE))
    folder.bench.edit(runs_now(pending(None)))
    if end == "crash":
        folder.crash()
    else:
        folder.bench.close()
    folder.write(edited(folder.content()))
    for _ in range(3):
        found = folder.again().task()
        assert isinstance(found.definition, Definition)
        assert found.definition.trigger == IntervalTrigger(seconds=5)
        assert found.definition.payload == '{"args":[2]}'
        assert (found.due_us, found.state) == (T0 + 7, ScheduleState.PAUSED)
        assert folder.bench.active() == (1, 0)
    folder.bench.edit(lambda record: Edit(replace(record, state=ScheduleState.SCHEDULED)))
    folder.crash()
    assert folder.again().task().definition == found.definition


def test_a_file_that_is_removed_is_a_task_that_is_removed(folder: Folder) -> None:
    folder.bench.put(task("gone", None), task("kept", None))
    folder.bench.edit(runs_now(pending(None)), "gone", "kept")
    [leased] = folder.bench.lease(capacity={"threadpool": 1}).leased
    folder.bench.close()
    folder.file("gone").unlink()
    bench = folder.again()
    assert set(bench.dump().tasks) == {"kept"}
    states = {run.task_id: (run.state, run.node) for run in bench.runs()}
    assert states["kept"] == (RunState.PENDING, None)
    assert leased.run.task_id == "gone"
    assert states["gone"] == (RunState.PENDING, "node-1")


def test_what_waits_for_a_removed_task_is_cancelled(folder: Folder) -> None:
    folder.bench.leased_with_queue(T0, T0 + 1, T0 + 2)
    folder.bench.edit(runs_now(pending(None)))
    folder.bench.close()
    folder.file().unlink()
    bench = folder.again()
    states = [run.state for run in bench.runs()]
    assert states == [RunState.PENDING, *[RunState.CANCELLED] * 3]
    assert bench.lease() == ((), None, ())
    folder.crash()
    assert [run.state for run in folder.again().runs()] == states


def test_a_file_that_is_put_back_is_a_task_again(folder: Folder) -> None:
    folder.bench.put(task("a"), task("b"))
    kept = folder.file("a").read_bytes()
    folder.bench.edit(removed(), "a")
    folder.bench.close()
    folder.file("a").write_bytes(kept)
    assert set(folder.again().dump().tasks) == {"a", "b"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[1]", "isn't a JSON object"),
        ("{}", "has no 'id'"),
        (b"\xff\xfe", "can't decode byte"),
        ({"id": "other"}, "isn't the name of a file for the task 'other'"),
        ({"due_us": "tomorrow"}, "'due_us' can't be 'tomorrow'"),
        ({"revision": True}, "'revision' can't be True"),
        ({"definition": 7}, "'definition' can't be 7"),
        ({"declared": {}}, "'declared' can't be {}"),
    ],
)
def test_a_file_that_is_no_task_is_shown_and_kept(
    folder: Folder, content: object, reason: str
) -> None:
    folder.bench.put(task(due_us=None), task("fine", None))
    folder.bench.edit(runs_now(pending(None)), "task", "fine")
    folder.bench.close()
    good = folder.file().read_bytes()
    if isinstance(content, dict):
        content = json.dumps({**folder.content(), **content})
    data = content if isinstance(content, bytes) else str(content).encode()
    folder.file().write_bytes(data)
    bench = folder.again()
    found = bench.task()
    assert isinstance(found.definition, Unreadable)
    assert reason in found.definition.reason
    assert found.state is ScheduleState.PAUSED
    reply = bench.lease()
    assert [each.run.task_id for each in reply.leased] == ["fine"]
    assert [name for name, _ in reply.deferred] == ["task"]
    folder.again()
    assert folder.file().read_bytes() == data
    folder.bench.close()
    folder.file().write_bytes(good)
    assert [each.run.task_id for each in folder.again().lease().leased] == ["task"]


def test_a_definition_that_is_not_understood_is_kept_as_it_is(folder: Folder) -> None:
    folder.bench.put(task())
    folder.bench.close()
    content = folder.content()
    content["definition"] = {"version": 99, "payload": {"new": ["way"]}, "trigger": "odd"}
    folder.write(content)
    found = folder.again().task()
    assert isinstance(found.definition, Unreadable)
    assert "version 99" in found.definition.reason
    folder.bench.edit(lambda record: Edit(replace(record, problem="seen")))
    assert folder.again().task() == replace(found, problem="seen", revision=1)


def test_an_unreadable_file_that_is_behind_is_written_again_and_kept_beside(folder: Folder) -> None:
    folder.bench.put(task())
    folder.crash()
    folder.file().write_text("my notes", "utf-8")
    assert folder.again().task() == task()
    kept = folder.file().with_name("task.json.unreadable")
    assert kept.read_text("utf-8") == "my notes"
    assert folder.content()["revision"] == 0


def test_other_files_are_nobodys_business(folder: Folder) -> None:
    (folder.path / "tasks" / "README.txt").write_text("mine", "utf-8")
    (folder.path / "tasks" / "task.json~").write_text("an editor's", "utf-8")
    assert folder.again().dump().tasks == {}
    assert len(list((folder.path / "tasks").iterdir())) == 2


@pytest.mark.parametrize("takes_too_long", [False, True])
def test_closing_syncs_files_unless_there_are_too_many(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, *, takes_too_long: bool
) -> None:
    monkeypatch.setattr(disk, "_MANY", 1)
    if takes_too_long:
        monkeypatch.setattr(sys, "platform", "darwin")
    folder.bench.put(task("a", None), task("b", None))
    folder.bench.close()
    [log] = folder.path.glob("runs-*")
    assert (b'"mark":"synced"' in log.read_bytes()) is not takes_too_long
    folder.file("a").unlink()
    # The log knows better as long as the files may be what a power cut has left.
    assert set(folder.again().dump().tasks) == ({"a", "b"} if takes_too_long else {"b"})


# --- when they can't be written ---------------------------------------------------------------


def test_files_that_could_not_be_written_are_written_first_thing(folder: Folder) -> None:
    bench = folder.bench
    (folder.path / "tasks").rename(folder.path / "elsewhere")
    bench.put(task("a"))
    with pytest.raises(StoreUnavailableError, match="tasks"):
        bench.put(task("b"))
    with pytest.raises(StoreUnavailableError, match="tasks"):
        bench.put(task("b"))
    (folder.path / "elsewhere").rename(folder.path / "tasks")
    bench.put(task("b"))
    assert {path.name for path in (folder.path / "tasks").iterdir()} >= {"a.json", "b.json"}
    assert set(folder.again().dump().tasks) == {"a", "b"}


def test_a_folder_that_is_gone_is_told_and_may_come_back(folder: Folder) -> None:
    bench = folder.bench
    bench.put(task("a", None))
    before = bench.dump()
    away = folder.path.with_name("away")
    folder.path.rename(away)
    for step in (lambda: bench.put(task("b")), bench.dump, bench.plan):
        with pytest.raises(StoreUnavailableError, match=str(folder.path)):
            step()
    away.rename(folder.path)
    assert bench.dump() == before
    bench.put(task("b"))
    folder.bench.close()
    shutil.rmtree(folder.path)
    assert folder.again().dump() == ({}, {}, {})


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task_id", "name"),
    [
        ("close_day", "close_day.json"),
        ("shop.jobs:close-day", "shop.jobs%3aclose-day.json"),
        ("Task", "+task.json"),
        ("TASK", "+t+a+s+k.json"),
        (".hidden", "%2ehidden.json"),
        ("..", "%2e..json"),
        ("a/b\\c", "a%2fb%5cc.json"),
        ("con", "%63on.json"),
        ("lpt1.x", "%6cpt1.x.json"),
        ("ä", "%c3%a4.json"),
        ("~+%", "%7e%2b%25.json"),
    ],
)
def test_names_are_readable_and_safe(task_id: str, name: str) -> None:
    assert file_name(task_id) == name
    assert id_of(name) == task_id


def test_long_ids_have_short_names() -> None:
    ids = ["x" * 195, "x" * 200, "x" * 201, "x" * 5_000, "y" + "X" * 5_000, "x" * 5_001]
    names = {file_name(each) for each in ids}
    assert len(names) == len(ids)
    assert max(map(len, names)) < 240


@given(st.text(st.characters(), min_size=1, max_size=60))
def test_names_come_back_as_their_ids(task_id: str) -> None:
    name = file_name(task_id)
    assert name == name.lower()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.+%~")
    assert len(name) > 200 or id_of(name) == task_id


@given(st.text(max_size=8).map(lambda text: text + ".json"))
def test_any_name_stands_for_some_id(name: str) -> None:
    found = id_of(name)
    assert file_name(found) == name or found == name.removesuffix(".json")
