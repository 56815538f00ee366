"""What steps ask of the server: few commands for many documents, and none that reads all."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import takewhile
from typing import Any

import pytest
from pymongo import MongoClient

from tests.unit.stores.mongo_commands import Sent
from tests.unit.stores.mongo_place import Place, placed
from tickwork.interfaces import StoreEnvironment
from tickwork.model.locks import LockRequest
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord
from tickwork.model.steps import Edit, Eligibility, Mark, Note, PruneRequest, TaskQuery
from tickwork.stores.mongo import MongoStore
from tickwork.testing.store_contract.bench import (
    ALL_EXECUTORS,
    EXECUTOR,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Bench,
    decide_never,
    finished,
    given_back,
    pending,
    queued,
    removed,
    runs_now,
    task,
)

MANY = 260
"""More than one command names."""


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def place(mongodb_url: str) -> Iterator[Place]:
    with placed(mongodb_url) as place:
        yield place


@pytest.fixture
def bench(place: Place, sent: Sent) -> Iterator[Bench]:
    """A bench over one client, whose commands are noted."""
    client: MongoClient[dict[str, Any]] = MongoClient(place.url, event_listeners=[sent])
    with closing(client):
        store = place.store(client)
        bench = Bench(store, store)
        store.open(StoreEnvironment(bench.codec, lambda: bench.now_us, simulated=True))
        bench.register(NODE, OTHER)
        yield bench
        bench.close()


def _counted(sent: Sent, step: Callable[[], object]) -> Counter[str]:
    """Return how many commands of which name a step sends."""
    sent.commands.clear()
    step()
    return Counter(next(iter(command)) for command in sent.commands)


def _like(bench: Bench) -> RunRecord:
    """Return another run like the last one that was submitted."""
    return replace(bench.runs()[-1], id=bench.new_id(), available_us=T0, gated_us=None)


def test_an_idle_look_is_a_few_reads(bench: Bench, sent: Sent) -> None:
    bench.put(task("later", T0 + MINUTE), task("never", None))
    assert _counted(sent, lambda: bench.plan(decide_never)) == {"find": 2}
    assert _counted(sent, bench.lease) == {"find": 1}


def test_many_tasks_are_planned_with_few_commands(bench: Bench, sent: Sent) -> None:
    bench.put(*(task(f"t{each:03}") for each in range(MANY)))
    plan = lambda: bench.plan(capacity={EXECUTOR: 10})  # noqa: E731
    counted = _counted(sent, plan)
    # More than are named at once are counted twice.
    assert counted.pop("aggregate") == 2
    # Large answers come in pieces.
    counted.pop("getMore", 0)
    assert counted == {"find": 4, "findAndModify": 1, "insert": 1, "update": 3}
    assert len(bench.runs()) == MANY


def test_many_runs_are_leased_and_finished_with_few_commands(bench: Bench, sent: Sent) -> None:
    bench.put(*(task(f"t{each:03}") for each in range(MANY)))
    bench.plan(capacity={})
    counted = _counted(sent, bench.lease)
    counted.pop("getMore", 0)
    assert counted == {"find": 3 + 2 + 2 + 1, "findAndModify": 1, "update": 2}
    runs = bench.runs()
    assert _counted(sent, lambda: bench.finish(*(Mark(run.id, run.fence, T0) for run in runs))) == {
        "update": 1
    }
    over = _counted(sent, lambda: bench.finish(*map(finished, runs)))
    assert over == {"update": 1, "aggregate": 2}


def test_histories_are_counted_by_the_server_and_read_only_where_too_long(
    bench: Bench, sent: Sent
) -> None:
    names = [f"t{each:03}" for each in range(MANY)]
    bench.put(*map(task, names))
    bench.plan()
    bench.finish(*map(finished, bench.runs()))

    def prune(**kept: int) -> None:
        bench.store.prune(PruneRequest(dict.fromkeys(names, 1) | kept, 0))

    # What has expired, what is old, which tasks are finished; more than are named at once.
    assert _counted(sent, prune) == {"find": 5, "aggregate": 2}
    assert not any("task_id" in command.get("filter", {}) for command in sent.commands)
    # The runs of two, and whether something still follows from them.
    assert _counted(sent, lambda: prune(t001=0, t002=0)) == {
        "find": 5 + 2 + 1,
        "aggregate": 3,
        "delete": 1,
    }
    assert len(bench.runs()) == MANY - 2


def test_many_tasks_are_added_and_changed_with_few_commands(bench: Bench, sent: Sent) -> None:
    tasks = [task(f"t{each:03}") for each in range(MANY)]
    added = _counted(sent, lambda: bench.put(*tasks))
    assert added == {"find": 2, "insert": 1}
    again = _counted(
        sent, lambda: bench.put(*tasks, decide=lambda existing, _: Edit(existing, unchanged=True))
    )
    again.pop("getMore", 0)
    assert again == {"find": 2, "aggregate": 2}
    ids = [each.id for each in tasks]
    changed = _counted(sent, lambda: bench.edit(Edit, *ids))
    changed.pop("getMore", 0)
    assert changed == {"find": 2, "aggregate": 2, "update": 1}
    gone = _counted(sent, lambda: bench.edit(removed(), *ids))
    gone.pop("getMore", 0)
    assert gone == {"find": 3, "aggregate": 2, "update": 1, "delete": 1}
    assert bench.dump().tasks == {}


def _acquire(bench: Bench, owner: str, name: str = "door", lease_us: int = MINUTE) -> bool:
    assert isinstance(bench.store, MongoStore)
    return bench.store.acquire_lock(LockRequest(name, owner, lease_us)).owner == owner


def _renew(bench: Bench, owner: str, lease_us: int) -> bool:
    assert isinstance(bench.store, MongoStore)
    return bench.store.renew_lock("door", owner, lease_us)


def _add_lapsed_locks(bench: Bench, place: Place) -> None:
    assert _acquire(bench, "other", "other", 1)
    bench.now_us += 1
    [lock] = place.documents("locks")
    others = [{**lock, "_id": f"other {number}"} for number in range(1, MANY)]
    place.database[f"{place.prefix}locks"].insert_many(others)


def test_locks_take_a_few_commands(bench: Bench, sent: Sent, place: Place) -> None:
    """However many there are; who is refused only reads."""
    _add_lapsed_locks(bench, place)
    new = _counted(sent, lambda: _acquire(bench, "a"))
    assert new == {"find": 1, "insert": 1, "findAndModify": 1, "update": 1}
    assert _counted(sent, lambda: _acquire(bench, "b")) == {"find": 1}
    assert _counted(sent, lambda: _acquire(bench, "a")) == {"find": 1, "update": 1}
    assert _counted(sent, lambda: _renew(bench, "a", MINUTE)) == {"find": 1, "update": 1}
    assert _counted(sent, lambda: _renew(bench, "b", MINUTE)) == {"find": 1}
    assert _counted(sent, lambda: _renew(bench, "a", 0)) == {"find": 1, "update": 1}
    known = _counted(sent, lambda: _acquire(bench, "b"))
    assert known == {"find": 1, "findAndModify": 1, "update": 1}
    assert isinstance(bench.store, MongoStore)
    assert _counted(sent, bench.store.locks) == {"find": 1}
    request = PruneRequest({}, 0, now_us=bench.now_us)
    idle = _counted(sent, lambda: bench.store.prune(PruneRequest({}, 0)))
    pruned = _counted(sent, lambda: bench.store.prune(request))
    # Large answers come in pieces.
    pruned.pop("getMore", 0)
    # More than are named at once are removed twice.
    assert pruned - idle == {"delete": 2}
    assert [each["_id"] for each in place.documents("locks")] == ["door"]


_LEADING = {
    "locks": {"_id", "until_us"},
    "tasks": {"_id", "wake_us", "owing", "declared_in", "updated_us", "trigger"},
    "runs": {
        *("_id", "task_id", "available_us", "suspect", "node", "open_of", "queued_of"),
        *("follows_of", "draft", "executor", "key", "opens", "expires_us"),
    },
}


_PARTIAL = {"executor": "available_us", "key": "gated_us"}
"""What else must be named for an index that leads with this to be used."""


def _conditions(command: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a command says about the documents that it is about."""
    name = next(iter(command))
    if name == "find":
        return [command["filter"]]
    if name == "aggregate":
        # What stands behind a group is said about groups.
        stages = takewhile(lambda stage: "$group" not in stage, command["pipeline"])
        return [stage["$match"] for stage in stages if "$match" in stage]
    if name == "distinct":
        return [command["query"]]
    if name in {"update", "delete"}:
        return [each["q"] for each in command[f"{name}s"]]
    return [command["query"]] if name == "findAndModify" else []


def _is_bounded(condition: Mapping[str, Any], collection: str) -> bool:
    """Whether an index answers a part of a condition."""
    if "$or" in condition and collection == "runs":
        return all(_is_bounded(each, collection) for each in condition["$or"])
    named = {
        field
        for field, value in condition.items()
        if not (isinstance(value, Mapping) and value.get("$exists") is False)
    }
    named -= {name for name, other in _PARTIAL.items() if other not in named}
    return bool(named & _LEADING.get(collection, named | {"_id"}))


def _use_keys_and_demand(bench: Bench) -> None:
    """Take all steps that have to do with keys, notes, and runs without a task."""
    bench.put(task("keyed", concurrency_key="key"), task("other", concurrency_key="key"))
    bench.plan()
    waiting = [bench.submit(concurrency_key="key") for _ in range(3)]
    [leased] = (each.run for each in bench.lease().leased)
    bench.cancel(leased, waiting[0])
    assert bench.demand.asked(NODE) == [leased.id]
    late = finished(leased, RunState.TIMEOUT, follows=True)
    bench.finish(late._replace(lingers=True), Note(leased.id, leased.fence, progress="1"))
    bench.finish(late)
    bench.edit(removed("no"), "keyed", "other")
    [leased] = (each.run for each in bench.lease().leased)
    bench.finish(finished(leased))


def _use_locks(bench: Bench) -> None:
    """Take all steps that have to do with locks."""
    assert isinstance(bench.store, MongoStore)
    assert _acquire(bench, "a")
    assert not _acquire(bench, "b")
    assert _renew(bench, "a", 0)
    assert _acquire(bench, "b")
    assert [lock.owner for lock in bench.store.locks()] == ["b"]


def test_ends_of_runs_with_keys_take_a_bounded_number_of_commands(bench: Bench, sent: Sent) -> None:
    """However many wait."""
    for _ in range(30):
        bench.submit(concurrency_key="key")
    run = _like(bench)
    submitted = _counted(sent, lambda: bench.demand.submit([run]))
    # It stands in line, and who has the key is looked after.
    assert submitted == {"insert": 2, "update": 2, "find": 3}
    [leased] = (each.run for each in bench.lease().leased)
    over = _counted(sent, lambda: bench.finish(finished(leased)))
    # It ends and is struck from the key, which the next one gets; the one after that doesn't.
    assert over == {"aggregate": 1, "find": 4, "update": 6, "insert": 1, "delete": 1}


def test_no_step_reads_all_documents(bench: Bench, sent: Sent, place: Place) -> None:
    """Whatever it asks about tasks and runs has a part that an index answers."""
    bench.put(*(task(each) for each in ("a", "b", "c", "d")), task("later", T0 + MINUTE))
    runs = [each.run for each in bench.plan().leased]
    bench.edit(runs_now(pending(None), queued(T0 + 9)), "later")
    bench.lease()
    mark = Mark(runs[2].id, runs[2].fence, T0)
    bench.finish(mark, given_back(runs[1]), finished(runs[0], follows=True))
    bench.finish(finished(runs[0], follows=True))
    bench.edit(removed("no"), "d")
    mine = Eligibility(ALL_EXECUTORS, frozenset({"f"}), frozenset({"t"}))
    bench.plan(eligibility=mine, now_us=T0 + MINUTE)
    bench.lease(eligibility=mine, suspects=False)
    _use_keys_and_demand(bench)
    _use_locks(bench)
    bench.now_us += 100 * MINUTE
    bench.recover(node=OTHER, held=frozenset())
    bench.store.prune(PruneRequest({"a": 0}, T0 + MINUTE, now_us=bench.now_us))
    bench.reader.find_tasks(TaskQuery(declared_in="m"))
    bench.reader.find_tasks(TaskQuery(trigger="shutdown"))
    seen: Counter[str] = Counter()
    for command in sent.commands:
        name = next(iter(command))
        collection = str(command[name]).removeprefix(place.prefix)
        for condition in _conditions(command):
            assert collection == "nodes" or _is_bounded(condition, collection), command
            seen[collection] += 1
    assert min(seen["tasks"], seen["runs"], seen["keys"]) > 20
    assert seen["locks"] == 10


def test_the_indexes_are_there(bench: Bench, place: Place) -> None:
    for name, leading in _LEADING.items():
        found = place.database[place.prefix + name].index_information().values()
        assert {index["key"][0][0] for index in found} == leading


def test_what_is_left_out_is_passed_over(bench: Bench) -> None:
    """By the server; where there is too much of it, here."""
    bench.put(*(task(f"gone{each}", T0 - 1, function="gone:away") for each in range(20)))
    bench.put(task("fine"), task("later", T0 + MINUTE, function="gone:too"))
    names = frozenset(f"gone{each}" for each in range(20))
    many = frozenset(f"no{each}" for each in range(3_000))
    cases = (
        (frozenset({"gone:away"}), frozenset[str]()),
        (frozenset[str](), names),
        (many | {"gone:away"}, frozenset[str]()),
        (frozenset[str](), many | names),
    )
    for generation, (functions, tasks) in enumerate(cases, 2):
        mine = Eligibility(ALL_EXECUTORS, functions, tasks)
        [leased] = bench.plan(eligibility=mine, limit=1).leased
        assert leased.run.task_id == "fine"
        assert bench.plan(decide_never, eligibility=mine, limit=1).next_us == T0 + MINUTE
        bench.edit(removed(), "fine")
        bench.put(task("fine", generation=generation))
