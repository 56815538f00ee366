"""A process that ends, or stands still, before any of the commands of a step.

Whatever was written by then, another client goes on, and in the end each task looks as if the step
had never happened or as if it had happened whole: no run is missing, there twice, or waiting for
ever, and nothing of the step's own is left behind.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from secrets import token_hex
from typing import Any, NamedTuple

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.unit.stores.mongo_commands import CutDatabase, Gate, StoppedError
from tickwork.errors import LeaseLostError
from tickwork.interfaces import Store
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import (
    Batch,
    Edit,
    LeaseRequest,
    Mark,
    Plan,
    PlannedRun,
    PlanRequest,
    PruneRequest,
    RecoverRequest,
    Verdict,
)
from tickwork.stores.mongo import MongoStore
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    finished,
    given_back,
    pending,
    queued,
    task,
)

_MISSED = PlannedRun(RunState.MISSED, T0 - 2, T0 - 2, T0 - 9, T0 - 2, 4, reason="late")
_PLANS = {
    "catch up": [_MISSED, pending(T0), queued(T0 + 1)],
    "twice": [pending(T0), pending(T0 + 1)],
}
_SOME = 9
"""Before every how many-th command a step is stopped in each run of the tests; in a soak: each."""

_FIELDS = {"owing", "outbox", "gone", "draft", "follows_of", "queued_of"}


def _planned(record: TaskRecord) -> Plan:
    """Plan all runs that a task ever has."""
    runs = _PLANS.get(record.id) or [pending(record.fire_us)]
    return Plan(runs, ScheduleState.FINISHED, None, None, T0 + 9)


def _counted(record: TaskRecord, _: int) -> None:
    """Note how often a task was moved on after its last run."""
    if not record.active:
        record.problem = str(int(record.problem or "0") + 1)


def _lost(run: RunRecord, _: object) -> Verdict:
    """Give up those runs of a dead node that say so by their name."""
    if run.task_id.startswith("lost"):
        return Verdict(RunState.LOST, run.crashes + 1, suspect=False, reason="its node died")
    return Verdict(RunState.PENDING, run.crashes, suspect=False)


class Home:
    """A place in the database, a store whose commands can be stopped, and one for the others."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self.gate = Gate()
        self.prefix = f"{token_hex(4)}_"
        self.database = database
        cut: Any = CutDatabase(database, self.gate)
        self.bench = Bench(
            MongoStore(cut, prefix=self.prefix), MongoStore(database, prefix=self.prefix)
        )
        self.executed: list[tuple[str, int | str]] = []
        self.bench.open()
        self.bench.register(NODE, lease_us=LEASE_US)

    def close(self) -> None:
        self.bench.close()
        for name in ("tasks", "runs", "nodes", "counters"):
            self.database.drop_collection(self.prefix + name)

    def execute(self, runs: Sequence[RunRecord], store: Store) -> None:
        """Finish runs, and note those of which that was taken."""
        batch = Batch(_counted)
        batch.finished += [finished(run, follows=run.fire_us is not None) for run in runs]
        refused = store.finish(batch)
        self.note([run for run in runs if run.id not in refused])

    def note(self, runs: Sequence[RunRecord]) -> None:
        """Note runs that were executed, by their slot, or by their id where they have none."""
        self.executed += [(run.task_id, run.fire_us or run.id) for run in runs]

    def drain(self, store: Store, node: str) -> None:
        """Go on as a scheduler would, until there is nothing more to do."""
        bench = self.bench
        assert store.beat(NodeRecord(id=node), 1_000 * LEASE_US).alive
        bench._registered.add(node)  # noqa: SLF001  it would be by the store that is stopped
        request = replace(self._recovery(), node=node)
        did = True
        while did:
            did = bool(store.recover(request).runs)
            while leased := self._taken(store, node):
                self.execute(leased, store)
                did = True

    def _taken(self, store: Store, node: str) -> list[RunRecord]:
        planned, waiting = store.plan(self._plan(node)), store.lease(self._lease(node))
        return [each.run for each in (*planned.leased, *waiting.leased)]

    def _recovery(self) -> RecoverRequest:
        return RecoverRequest(NODE, self.bench.now_us, _lost, _counted, frozenset())

    def _plan(self, node: str) -> PlanRequest:
        return self.bench.plan_request(_planned, node=node, now_us=self.bench.now_us + MINUTE)

    def _lease(self, node: str) -> LeaseRequest:
        return self.bench.lease_request(node=node, now_us=self.bench.now_us + MINUTE)

    def shown(self) -> dict[str, Any]:
        """Return each task and its runs, without what depends on who executed them when."""
        left = [
            (document["_id"], field)
            for name in ("tasks", "runs")
            for document in self.database[self.prefix + name].find()
            for field in sorted(_FIELDS & document.keys())
        ]
        assert not left, "these were left behind"
        tasks, runs, _ = self.bench.dump()
        names = {*tasks, *(run.task_id for run in runs.values())}
        return {name: (_task(tasks.get(name)), _runs(runs, name)) for name in names}


def _task(record: TaskRecord | None) -> object:
    if record is None:
        return None
    return replace(record, revision=0, due_us=None, updated_us=0)


def _runs(runs: dict[str, RunRecord], task_id: str) -> object:
    facts = [
        (run.generation, run.fire_us or 0, run.due_us, str(run.state), run.reason, run.fire_count)
        for run in runs.values()
        if run.task_id == task_id
    ]
    return sorted(facts, key=repr)


class Scenario(NamedTuple):
    """A situation, and the step that is stopped in it; it returns the runs to be executed.

    Not `exact` are those where some runs are cancelled or not, or are told to have been lost: one
    that others have forgotten can't be told from one that they have taken over.
    """

    prepare: Callable[[Home], Any]
    step: Callable[[Home, Any], Sequence[RunRecord]]
    exact: bool = True


def _plan_step(home: Home, _: object) -> list[RunRecord]:
    request = home.bench.plan_request(_planned, capacity={EXECUTOR: 2})
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
    leased = home.bench.plan(_planned, now_us=T0 + 9).leased
    return [replace(each.run) for each in leased]


def _finish_step(home: Home, runs: list[RunRecord]) -> list[RunRecord]:
    batch = Batch(_counted)
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
    home.bench.recover(_lost, _counted, held=frozenset())
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
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_url)
    yield client.get_default_database("tickwork")
    client.close()


@contextmanager
def _home(database: Database[dict[str, Any]]) -> Iterator[Home]:
    home = Home(database)
    try:
        yield home
    finally:
        home.close()


def _others_go_on(home: Home) -> None:
    """Let another node declare that of the step dead, and do all that there is to do."""
    home.gate.disarm()
    home.bench.now_us += 2 * LEASE_US
    home.drain(home.bench.second, OTHER)


def _whole(database: Database[dict[str, Any]], scenario: Scenario, *, done: bool) -> dict[str, Any]:
    """Return what a scenario comes to with its step, or without it."""
    with _home(database) as home:
        prepared = scenario.prepare(home)
        if done:
            scenario.step(home, prepared)
        _others_go_on(home)
        return home.shown()


def _stops(at: int, home: Home, scenario: Scenario, prepared: Any) -> bool:
    """Stop the step of a scenario before a command; return False where it ended before that."""
    home.gate.arm(lambda number: number == at)
    try:
        scenario.step(home, prepared)
    except StoppedError:
        return True
    return False


def _end_everywhere(database: Database[dict[str, Any]], scenario: Scenario, every: int) -> None:
    before, after = (_whole(database, scenario, done=done) for done in (False, True))
    at, stopped = min(every, 4), True
    while stopped:
        with _home(database) as home:
            stopped = _stops(at, home, scenario, scenario.prepare(home))
            _others_go_on(home)
            shown = home.shown()
            for name in {*shown, *before, *after}:
                assert shown.get(name) in (before.get(name), after.get(name)), (at, name)
            assert len(home.executed) == len(set(home.executed)), at
        at += every
    assert shown == after
    assert at > 10


def _stand_still_at(at: int, home: Home, scenario: Scenario) -> bool:
    """Let others do and forget everything before a command; return False where it ended before."""
    met = False

    def forget() -> None:
        nonlocal met
        met = True
        _others_go_on(home)
        histories = dict.fromkeys(home.bench.dump().tasks, 0)
        home.bench.second.prune(PruneRequest(histories, T0 + 1))

    prepared = scenario.prepare(home)
    home.gate.arm(lambda number: number == at, forget)
    with suppress(LeaseLostError):
        leased = scenario.step(home, prepared)
        home.gate.disarm()
        home.execute(leased, home.bench.store)
    return met


def _stand_still_everywhere(
    database: Database[dict[str, Any]], scenario: Scenario, every: int
) -> None:
    with _home(database) as home:
        home.execute(scenario.step(home, scenario.prepare(home)), home.bench.store)
        _others_go_on(home)
        whole = sorted(home.executed, key=repr)
    at, met = min(every, 4), True
    while met:
        with _home(database) as home:
            met = _stand_still_at(at, home, scenario)
            _others_go_on(home)
            home.shown()
            executed = sorted(home.executed, key=repr)
            assert len(executed) == len(set(executed)), at
            assert executed == whole or not scenario.exact, at
        at += every
    assert at > 10


def _repeat_everywhere(database: Database[dict[str, Any]], scenario: Scenario, every: int) -> None:
    """Break a step off before each command, as when the server was lost, and take it again."""
    after = _whole(database, scenario, done=True)
    at, stopped = min(every, 4), True
    while stopped:
        with _home(database) as home:
            prepared = scenario.prepare(home)
            stopped = _stops(at, home, scenario, prepared)
            home.gate.disarm()
            # What a scheduler does that can't know whether it was given something.
            held = frozenset(run.id for run in prepared or ())
            home.bench.recover(_lost, _counted, held=held)
            scenario.step(home, prepared)
            _others_go_on(home)
            assert home.shown() == after, at
        at += every
    assert at > 10


@pytest.mark.parametrize("kind", _SCENARIOS)
def test_another_goes_on_where_a_step_ended(database: Database[dict[str, Any]], kind: str) -> None:
    _end_everywhere(database, _SCENARIOS[kind], every=_SOME)


@pytest.mark.soak
@pytest.mark.parametrize("kind", _SCENARIOS)
def test_another_goes_on_wherever_a_step_ended(
    database: Database[dict[str, Any]], kind: str
) -> None:
    _end_everywhere(database, _SCENARIOS[kind], every=1)


@pytest.mark.parametrize("kind", _SCENARIOS)
def test_nothing_is_done_twice_where_a_step_stood_still(
    database: Database[dict[str, Any]], kind: str
) -> None:
    _stand_still_everywhere(database, _SCENARIOS[kind], every=_SOME)


@pytest.mark.soak
@pytest.mark.parametrize("kind", _SCENARIOS)
def test_nothing_is_done_twice_wherever_a_step_stood_still(
    database: Database[dict[str, Any]], kind: str
) -> None:
    _stand_still_everywhere(database, _SCENARIOS[kind], every=1)


@pytest.mark.parametrize("kind", ["finish", "put"])
def test_a_step_is_taken_again_where_it_broke_off(
    database: Database[dict[str, Any]], kind: str
) -> None:
    _repeat_everywhere(database, _SCENARIOS[kind], every=_SOME)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["finish", "put", "plan", "lease", "recover"])
def test_a_step_is_taken_again_wherever_it_broke_off(
    database: Database[dict[str, Any]], kind: str
) -> None:
    _repeat_everywhere(database, _SCENARIOS[kind], every=1)
