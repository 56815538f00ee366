"""What stands in an outbox, by whom it is settled, and what nobody may see of it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.unit.stores.mongo_commands import StoppedError
from tests.unit.stores.mongo_place import Place, placed
from tickwork.errors import InvalidInputError
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Edit, Ended, PruneRequest, RunQuery, TaskQuery
from tickwork.stores.mongo import MongoStore
from tickwork.testing.store_contract.bench import (
    MINUTE,
    OTHER,
    T0,
    decide_never,
    finished,
    moves_on,
    pending,
    queued,
    raised,
    removed,
    runs_now,
    task,
)


@pytest.fixture
def place(mongodb_url: str) -> Iterator[Place]:
    with placed(mongodb_url) as place:
        place.bench.open()
        yield place


def _planned_until_drafts(place: Place) -> None:
    """Stop a plan when its runs are drafts: those who look see a task that has moved on."""
    place.bench.put(task("a"), task("b"))
    place.bench.register("node-1")
    request = place.bench.plan_request()
    place.gate.arm(lambda _: len(place.drafts()) == 2)
    with pytest.raises(StoppedError):
        place.bench.store.plan(request)
    assert place.owing() == ["a", "b"]


def test_drafts_are_seen_by_nobody(place: Place) -> None:
    _planned_until_drafts(place)
    store = place.bench.second
    assert isinstance(store, MongoStore)
    drafts = place.drafts()
    assert len(drafts) == 2
    assert [store.get_run(each) for each in drafts] == [None, None]
    assert store.find_runs(RunQuery()) == []
    assert [each.active for each in place.bench.dump().tasks.values()] == [0, 0]
    assert place.bench.lease(node=OTHER, store=store).leased == ()
    assert store.prune(PruneRequest({"a": 0, "b": 0}, T0 + MINUTE)) == 0
    assert place.drafts() == drafts


def test_a_task_is_not_shown_as_finished_before_its_last_run_is(place: Place) -> None:
    """Else who waits for the end of everything would look at a moment when nothing is left."""
    place.bench.put(task())
    place.bench.register("node-1")
    reader = place.bench.second
    assert isinstance(reader, MongoStore)
    shown: list[tuple[int, set[str]]] = []

    def look(_: int) -> bool:
        shown.append((len(reader.find_runs(RunQuery())), _states(reader)))
        return False

    place.gate.arm(look)
    place.bench.store.plan(place.bench.plan_request())
    look(0)
    changes = [each for at, each in enumerate(shown) if each not in shown[:at]]
    assert changes == [(0, {"scheduled"}), (1, {"scheduled"}), (1, {"finished"})]


def _states(reader: MongoStore) -> set[str]:
    """Return the state of the only task, as all ways of reading tell it."""
    one = reader.get_task("task")
    assert one is not None
    found = [task for state in ScheduleState for task in reader.find_tasks(TaskQuery(state=state))]
    counted = [state for state, number in reader.counts().items() if number]
    records = [one, *found, *reader.find_tasks(TaskQuery())]
    assert (len(found), len(counted)) == (1, 1)
    return {*counted, *(record.state.value for record in records)}


def test_a_task_whose_last_runs_nobody_made_is_found_as_scheduled(place: Place) -> None:
    _planned_until_drafts(place)
    store = place.bench.second
    assert isinstance(store, MongoStore)
    for state, ids in ((ScheduleState.SCHEDULED, ["b"]), (ScheduleState.FINISHED, [])):
        found = store.find_tasks(TaskQuery(state=state, search="B", limit=5))
        assert [each.id for each in found] == ids
    place.bench.recover(decide_never, decide_never, node=OTHER)
    assert store.counts() == {"pending": 0, "scheduled": 0, "paused": 0, "finished": 2}


def test_who_plans_next_settles_what_was_left_behind_for_a_while(place: Place) -> None:
    _planned_until_drafts(place)
    for passed_us, owing in ((1_999_999, ["a", "b"]), (2_000_000, [])):
        now_us = T0 + passed_us
        assert not place.bench.plan(decide_never, node=OTHER, now_us=now_us).leased
        assert place.owing() == owing
    # The planner's leases took effect, since it had inserted the runs.
    assert {run.node for run in place.bench.runs()} == {"node-1"}


def test_an_edit_settles_what_others_owe_first(place: Place) -> None:
    _planned_until_drafts(place)
    seen: list[TaskRecord] = []

    def decide(record: TaskRecord) -> Edit:
        seen.append(record)
        return Edit(replace(record, problem="seen"))

    place.bench.edit(decide, "a")
    assert [record.active for record in seen] == [1]
    assert place.owing() == ["b"]


def test_each_change_of_a_task_has_an_outbox_of_its_own(place: Place) -> None:
    """Who still has a copy of one must not take the next for it."""
    place.bench.put(task(due_us=None))
    seen: dict[str, int] = {}

    def look(_: int) -> bool:
        for each in place.documents("tasks"):
            if "owing" in each:
                seen[each["owing"]] = each["outbox"]["born"]
        return False

    place.gate.arm(look)
    place.bench.edit(runs_now(pending(None)), "task", "task", "task")
    assert list(seen.values()) == [1, 2, 3]


def test_adding_a_task_that_is_being_removed_finishes_the_removal(place: Place) -> None:
    place.bench.put(task(generation=1, due_us=None))
    place.bench.edit(runs_now(pending(None)))
    place.gate.arm(lambda _: any("gone" in each for each in place.documents("tasks")))
    with pytest.raises(StoppedError):
        place.bench.edit(removed("not needed"))
    assert place.bench.dump().tasks == {}
    assert place.bench.reader.counts()["scheduled"] == 0
    # Decided about as about a task that isn't there.
    [edited] = place.bench.put(task(generation=2))
    assert edited.task == place.bench.task() == task(generation=2)
    assert [(run.state, run.reason) for run in place.bench.runs()] == [
        (RunState.CANCELLED, "not needed")
    ]


def test_leasing_leaves_runs_of_a_removal_to_it(place: Place) -> None:
    place.bench.put(task(due_us=None))
    place.bench.edit(runs_now(pending(None)))
    outbox = {"generation": 1, "born": 5, "at_us": T0 + 7, "cancel": "not needed"}
    gone = {"gone": True, "owing": "token", "outbox": outbox}
    place.change("tasks", {"$set": gone, "$unset": {"wake_us": ""}})
    assert place.bench.lease().leased == ()
    [run] = place.bench.runs()
    assert (run.state, run.reason, run.finished_us) == (
        RunState.CANCELLED,
        "not needed",
        T0 + 7,
    )
    assert place.documents("tasks") == []


def test_drafts_without_an_outbox_are_swept_up(place: Place) -> None:
    bench = place.bench
    [run] = bench.leased(task())
    [document] = place.documents("runs")
    stale = {**document, "_id": f"{document['_id']}x", "fire_us": T0 - 1, "draft": "old:nonce"}
    orphan = {**stale, "_id": f"{document['_id']}y", "fire_us": T0 - 2, "task_id": "unknown"}
    place.database[f"{place.prefix}runs"].insert_many([stale, orphan])
    assert len(place.drafts()) == 2
    bench.recover(decide_never, decide_never, node=OTHER)
    assert place.drafts() == []
    assert [each["_id"] for each in place.documents("runs")] == [run.id]


def test_drafts_of_an_outbox_that_is_there_are_made_runs(place: Place) -> None:
    _planned_until_drafts(place)
    drafts = place.drafts()
    place.bench.recover(decide_never, decide_never, node=OTHER)
    assert place.drafts() == []
    assert [run.id for run in place.bench.runs()] == drafts
    assert place.owing() == []


def test_a_run_is_not_forgotten_before_its_outbox_is_emptied(place: Place) -> None:
    bench = place.bench
    [run] = bench.leased(task(max_history=0))
    bench.finish(finished(run))
    [document] = place.documents("runs")
    body = {**document, "state": "pending", "open_of": "task", "available_us": T0}
    outbox = {"generation": 1, "born": 1, "at_us": T0, "runs": [body]}
    place.change("tasks", {"$set": {"owing": "token", "outbox": outbox}})
    forgetting = PruneRequest({"task": 0}, T0 + MINUTE)
    assert bench.store.prune(forgetting) == 0
    bench.recover(decide_never, decide_never, node=OTHER)
    assert [each.state for each in bench.runs()] == [RunState.COMPLETED]
    assert bench.store.prune(forgetting) == 1
    assert bench.runs() == []


def test_a_run_is_not_forgotten_while_something_follows_from_it(place: Place) -> None:
    bench = place.bench
    [run] = bench.leased(task())
    bench.finish(finished(run))
    place.change("runs", {"$set": {"follows_of": "task"}})
    forgetting = PruneRequest({"task": 0}, T0 + MINUTE)
    assert bench.store.prune(forgetting) == 0
    seen: list[tuple[str, list[Ended]]] = []
    bench.recover(decide_never, lambda record, ends: seen.append((record.id, ends)), node=OTHER)
    assert seen == [("task", [Ended(RunState.COMPLETED, finished(run).finished_us)])]
    assert bench.store.prune(forgetting) == 1


def test_marks_of_runs_whose_task_is_gone_are_taken_away(place: Place) -> None:
    bench = place.bench
    bench.leased(task("gone"), task("new"))
    bench.edit(removed(), "gone")
    bench.put(task("new", generation=2), decide=lambda _, new: Edit(new))
    collection = place.database[f"{place.prefix}runs"]
    for name in ("gone", "new"):
        collection.update_many({"task_id": name}, {"$set": {"follows_of": name}})
    bench.recover(decide_never, decide_never, node=OTHER)
    assert not any("follows_of" in each for each in place.documents("runs"))


def test_runs_queued_behind_nobody_are_let_go(place: Place) -> None:
    bench = place.bench
    run, waiting = bench.leased_with_queue(T0, T0 + 1, T0 + 2)
    # As if who finished it had ended before looking for queued ones.
    collection = place.database[f"{place.prefix}runs"]
    over = {"$set": {"state": "completed"}, "$unset": {"open_of": "", "node": ""}}
    collection.update_one({"_id": run.id}, over)
    assert bench.lease(now_us=T0 + MINUTE).leased == ()
    bench.recover(decide_never, decide_never)
    [leased] = bench.lease(now_us=T0 + MINUTE).leased
    assert leased.run.id == waiting[0].id
    assert bench.active() == (2, 1)


def test_the_end_of_an_earlier_tasks_run_lets_nothing_go(place: Place) -> None:
    """Runs of a catch-up wait for each other, also where there is room for several."""
    bench = place.bench
    [old] = bench.leased(task(generation=1))
    bench.put(task(generation=2, max_instances=3), decide=lambda _, new: Edit(new))
    bench.plan(moves_on(pending(T0), queued(T0 + 1), planned_us=T0 + 1))
    bench.finish(finished(old))
    assert bench.active() == (2, 1)


def test_a_lease_of_a_node_that_nobody_knows_is_taken_over(place: Place) -> None:
    """It stood still between asking whether it is alive and leasing."""
    bench = place.bench
    [run] = bench.leased(task(), node="stranger")
    place.database[f"{place.prefix}nodes"].delete_one({"_id": "stranger"})
    reply = bench.recover(node=OTHER)
    assert [each.id for each in reply.runs] == [run.id]
    assert list(reply.dead) == ["stranger"]
    assert bench.run(run).node is None


def test_more_runs_at_once_than_a_document_holds_are_refused(place: Place) -> None:
    bench = place.bench
    bench.put(task("a"), task("b"))
    many = [pending(None)] * 10_001
    message = raised(InvalidInputError, lambda: bench.edit(runs_now(*many), "a"))
    assert "10,001 runs" in message
    reply = bench.plan(lambda record: moves_on(*(many if record.id == "a" else many[:1]))(record))
    assert [(name, "10,001 runs" in why.reason) for name, why in reply.deferred] == [("a", True)]
    assert [each.run.task_id for each in reply.leased] == ["b"]


def test_many_runs_at_once_are_made(place: Place) -> None:
    """As many as a planner makes of one catch-up."""
    bench = place.bench
    bench.put(task())
    runs = [pending(T0), *(queued(T0 + each) for each in range(1, 1_000))]
    reply = bench.plan(moves_on(*runs, planned_us=T0 + 999), store=bench.second)
    assert (len(reply.leased), len(reply.recorded)) == (1, 999)
    assert bench.active() == (1_000, 999)
    assert place.owing() == []
