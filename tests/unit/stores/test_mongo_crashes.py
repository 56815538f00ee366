"""A process that ends, or stands still, before any of the commands of a step about tasks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.unit.stores.mongo_crashing import (
    SOME,
    Home,
    Scenario,
    counted,
    end_everywhere,
    lost,
    planned,
    repeat_everywhere,
    stand_still_everywhere,
)
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import Batch, Edit, Mark, Plan
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    T0,
    finished,
    given_back,
    pending,
    queued,
    task,
)


def _plan_step(home: Home, _: object) -> list[RunRecord]:
    request = home.bench.plan_request(planned, capacity={EXECUTOR: 2})
    return [each.run for each in home.bench.store.plan(request).leased]


def _due(home: Home) -> None:
    home.bench.put(task("catch up"), task("twice", T0 + 1), task("once", T0 + 2))
    home.bench.now_us += 2


def _waiting(home: Home) -> None:
    home.bench.put(*(task(name, None) for name in ("a", "b", "c")))
    home.bench.edit(lambda record: Edit(record, [pending(None)]), "a", "b", "c")


def _lease_step(home: Home, _: object) -> list[RunRecord]:
    request = home.bench.lease_request(capacity={EXECUTOR: 2})
    return [each.run for each in home.bench.store.lease(request).leased]


def _running(home: Home) -> list[RunRecord]:
    home.bench.put(task("catch up"), task("twice", max_instances=2), task("once"), task("back"))
    leased = home.bench.plan(planned, now_us=T0 + 9).leased
    return [replace(each.run) for each in leased]


def _finish_step(home: Home, runs: list[RunRecord]) -> list[RunRecord]:
    batch = Batch(counted)
    over = [run for run in runs if run.task_id != "back"]
    for run in runs:
        if run not in over:
            batch.given_back.append(given_back(run, T0, started=True, error="[]"))
        else:
            failed = run.task_id == "once"
            state = RunState.FAILED if failed else RunState.COMPLETED
            batch.finished.append(finished(run, state, follows=True))
    batch.marks += [Mark(run.id, run.fence, T0) for run in runs if run.task_id == "once"]
    refused = home.bench.store.finish(batch)
    home.note([run for run in over if run.id not in refused])
    return []


def _edit_step(home: Home, _: object) -> list[RunRecord]:
    def decide(record: TaskRecord) -> Edit:
        if record.id == "twice":
            return Edit(replace(record, paused_reason="x"), cancel_pending="changed")
        return Edit(replace(record, paused_reason="x"), [pending(T0 + 100), queued(T0 + 101)])

    home.bench.store.edit(["catch up", "twice"], decide, home.bench.new_id)
    return []


def _remove_step(home: Home, _: object) -> list[RunRecord]:
    def decide(_: TaskRecord) -> Edit:
        return Edit(None, [pending(T0 + 100)], cancel_pending="not needed")

    home.bench.store.edit(["catch up", "once"], decide, home.bench.new_id)
    return []


def _put_step(home: Home, _: object) -> list[RunRecord]:
    tasks = [task("catch up", None, generation=2), task("new", None), task("once", name="other")]

    def decide(existing: TaskRecord, new: TaskRecord) -> Edit:
        if new.generation != existing.generation:
            return Edit(new)
        return Edit(replace(existing, definition=new.definition))

    home.bench.store.put(tasks, decide, home.bench.new_id)
    return []


def _dead(home: Home) -> None:
    home.bench.register("dead", lease_us=1)
    names = ("lost", "lost too", "kept")
    home.bench.put(*(task(name) for name in names))
    home.bench.plan(
        lambda _: Plan([pending(T0), queued(T0 + 1)], ScheduleState.FINISHED, None, None, T0 + 1),
        node="dead",
    )
    home.bench.now_us += 1


def _recover_step(home: Home, _: object) -> list[RunRecord]:
    home.bench.recover(lost, counted, held=frozenset())
    return []


_SCENARIOS = {
    "plan": Scenario(_due, _plan_step),
    "lease": Scenario(_waiting, _lease_step),
    "finish": Scenario(_running, _finish_step, exact=False),
    "edit": Scenario(_running, _edit_step, exact=False),
    "remove": Scenario(_running, _remove_step, exact=False),
    "put": Scenario(_running, _put_step, exact=False),
    "recover": Scenario(_dead, _recover_step),
}


@pytest.fixture(scope="module")
def database(mongodb_url: str) -> Iterator[Database[dict[str, Any]]]:
    # What others do while a command stands still may take longer than a command.
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_url, socketTimeoutMS=600_000)
    yield client.get_default_database("tickwork")
    client.close()


@pytest.mark.parametrize("kind", _SCENARIOS)
def test_another_goes_on_where_a_step_ended(database: Database[dict[str, Any]], kind: str) -> None:
    end_everywhere(database, _SCENARIOS[kind], every=SOME)


@pytest.mark.soak
@pytest.mark.parametrize("kind", _SCENARIOS)
def test_another_goes_on_wherever_a_step_ended(
    database: Database[dict[str, Any]], kind: str
) -> None:
    end_everywhere(database, _SCENARIOS[kind], every=1)


@pytest.mark.parametrize("kind", _SCENARIOS)
def test_nothing_is_done_twice_where_a_step_stood_still(
    database: Database[dict[str, Any]], kind: str
) -> None:
    stand_still_everywhere(database, _SCENARIOS[kind], every=SOME)


@pytest.mark.soak
@pytest.mark.parametrize("kind", _SCENARIOS)
def test_nothing_is_done_twice_wherever_a_step_stood_still(
    database: Database[dict[str, Any]], kind: str
) -> None:
    stand_still_everywhere(database, _SCENARIOS[kind], every=1)


@pytest.mark.parametrize("kind", ["finish", "put"])
def test_a_step_is_taken_again_where_it_broke_off(
    database: Database[dict[str, Any]], kind: str
) -> None:
    repeat_everywhere(database, _SCENARIOS[kind], every=SOME)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["finish", "put", "plan", "lease", "recover"])
def test_a_step_is_taken_again_wherever_it_broke_off(
    database: Database[dict[str, Any]], kind: str
) -> None:
    repeat_everywhere(database, _SCENARIOS[kind], every=1)
