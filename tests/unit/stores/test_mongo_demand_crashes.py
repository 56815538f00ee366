"""A process that ends, or stands still, before any of the commands of a step about keys and demand.

No key stays held by a run that is over, none is held by more than it allows, and nobody waits for
one for ever.
"""

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
from tickwork.model.steps import Batch, CancelRequest, Edit, Plan
from tickwork.testing.store_contract.bench import (
    NODE,
    T0,
    finished,
    pending,
    queued,
    task,
)


def _keyed(name: str, limit: int = 1, **fields: Any) -> TaskRecord:
    return task(name, concurrency_key="key", concurrency_limit=limit, **fields)


def _submitted(home: Home, *names: str, key: str | None = None) -> list[RunRecord]:
    return [
        home.bench.submit(task_id=name, concurrency_key=key, available_us=T0 - place)
        for place, name in enumerate(names)
    ]


# --- submit


def _to_submit(home: Home) -> list[RunRecord]:
    """Return runs as they are before they are submitted; somebody else holds the key."""
    _submitted(home, "holder", key="key")
    elsewhere = Home(home.database)
    try:
        runs = _submitted(elsewhere, "s1", "s2", key="key") + _submitted(elsewhere, "s3")
        runs += _submitted(elsewhere, "s4", key="other")
    finally:
        elsewhere.close()
    for run in runs:
        run.id = home.bench.new_id()
        run.available_us, run.gated_us, run.holds_key = T0, None, False
    return runs


def _submit_step(home: Home, runs: list[RunRecord]) -> list[RunRecord]:
    home.bench.demand.submit(runs)
    return []


# --- cancel


def _to_cancel(home: Home) -> list[RunRecord]:
    """Return a waiting, a queued and a leased run, a holder and one that waits for its key."""
    home.bench.put(task("leased"))
    [leased] = home.bench.plan(planned).leased
    home.bench.put(task("catch up"), task("waits"))
    home.bench.plan(planned, capacity={})
    holder, gated, _ = _submitted(home, "s1", "s2", "s3", key="key")
    waits, last = home.bench.runs("waits")[0], home.bench.runs("catch up")[0]
    assert last.available_us is None
    return [leased.run, waits, last, holder, gated]


def _cancel_step(home: Home, runs: list[RunRecord]) -> list[RunRecord]:
    request = CancelRequest([run.id for run in runs], "not needed", home.bench.now_us, counted)
    home.bench.demand.cancel(request)
    return []


# --- the end of runs that lingered, and of those that held a key


def _holding(home: Home) -> list[RunRecord]:
    """Return leased runs of which one holds a key that others wait for."""
    names = ("k1", "k2", "k3")
    home.bench.put(*(_keyed(name) for name in names), task("catch up"))
    home.bench.plan(planned, now_us=T0 + 9)
    _submitted(home, "s1", key="key")
    home.bench.lease()
    return [run for run in home.bench.runs() if run.node == NODE]


def _hold_step(home: Home, runs: list[RunRecord]) -> list[RunRecord]:
    home.execute(runs, home.bench.store)
    return []


def _linger_step(home: Home, runs: list[RunRecord]) -> list[RunRecord]:
    last = Batch(counted)
    last.finished += [finished(run, RunState.TIMEOUT, reason="late", follows=True) for run in runs]
    first = Batch(counted)
    first.finished += [each._replace(lingers=True, errors="[1]") for each in last.finished]
    refused = home.bench.store.finish(first)
    home.note([run for run in runs if run.id not in refused])
    home.bench.store.finish(last)
    return []


# --- tasks whose runs have keys


def _due(home: Home) -> None:
    home.bench.put(_keyed("catch up", 2), _keyed("twice", 2), _keyed("once"), task("plain"))
    home.bench.now_us += 2


def _plan_step(home: Home, _: object) -> list[RunRecord]:
    return [each.run for each in home.bench.plan(planned).leased]


def _planned_with_keys(home: Home) -> list[RunRecord]:
    _due(home)
    home.bench.plan(planned)
    _submitted(home, "s1", key="key")
    home.bench.lease()
    return []


def _remove_step(home: Home, _: object) -> list[RunRecord]:
    def decide(_: TaskRecord) -> Edit:
        return Edit(None, [pending(T0 + 100)], cancel_pending="not needed")

    home.bench.store.edit(["catch up", "once"], decide, home.bench.new_id)
    return []


def _edit_step(home: Home, _: object) -> list[RunRecord]:
    def decide(record: TaskRecord) -> Edit:
        added = [pending(T0 + 100), queued(T0 + 101)]
        return Edit(replace(record, paused_reason="x"), added)

    home.bench.store.edit(["catch up", "once"], decide, home.bench.new_id)
    return []


def _dead(home: Home) -> None:
    home.bench.register("dead", lease_us=1)
    home.bench.put(*(_keyed(name, 2) for name in ("lost", "kept", "lost too")))
    runs = [pending(T0), queued(T0 + 1)]
    home.bench.plan(lambda _: Plan(runs, ScheduleState.FINISHED, None, None, T0 + 1), node="dead")
    leased = [each.run for each in home.bench.lease(node="dead").leased]
    home.bench.put(task("lingers"))
    [late] = home.bench.plan(planned, node="dead").leased
    home.bench.finish(finished(late.run, RunState.TIMEOUT, lingers=True))
    home.note([late.run])
    assert [run.task_id for run in leased] == ["lost", "kept"]
    home.bench.now_us += 1


def _recover_step(home: Home, _: object) -> list[RunRecord]:
    home.bench.recover(lost, counted, held=frozenset())
    return []


_SCENARIOS = {
    "submit": Scenario(_to_submit, _submit_step),
    "cancel": Scenario(_to_cancel, _cancel_step, exact=False),
    "hold": Scenario(_holding, _hold_step, exact=False),
    "linger": Scenario(_holding, _linger_step, exact=False),
    "plan": Scenario(_due, _plan_step),
    "remove": Scenario(_planned_with_keys, _remove_step, exact=False),
    "edit": Scenario(_planned_with_keys, _edit_step, exact=False),
    "recover": Scenario(_dead, _recover_step),
}
_REPEATED = ["submit", "cancel", "hold", "linger"]


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


@pytest.mark.parametrize("kind", _REPEATED)
def test_a_step_is_taken_again_where_it_broke_off(
    database: Database[dict[str, Any]], kind: str
) -> None:
    repeat_everywhere(database, _SCENARIOS[kind], every=SOME)


@pytest.mark.soak
@pytest.mark.parametrize("kind", _REPEATED)
def test_a_step_is_taken_again_wherever_it_broke_off(
    database: Database[dict[str, Any]], kind: str
) -> None:
    repeat_everywhere(database, _SCENARIOS[kind], every=1)
