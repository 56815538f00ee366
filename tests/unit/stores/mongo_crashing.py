"""A process that ends, or stands still, before any of the commands of a step.

Whatever was written by then, another client goes on, and in the end each task looks as if the step
had never happened or as if it had happened whole: no run is missing, there twice, or waiting for
ever, and nothing of the step's own is left behind.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from secrets import token_hex
from typing import Any, NamedTuple

from pymongo.database import Database

from tests.unit.stores.mongo_commands import CutDatabase, Gate, StoppedError
from tickwork.errors import LeaseLostError
from tickwork.interfaces import Store
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import (
    Batch,
    Ended,
    LeaseRequest,
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
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    finished,
    pending,
    queued,
)

__all__ = [
    "SOME",
    "Home",
    "Scenario",
    "counted",
    "end_everywhere",
    "lost",
    "planned",
    "repeat_everywhere",
    "stand_still_everywhere",
]

_MISSED = PlannedRun(RunState.MISSED, T0 - 2, T0 - 2, T0 - 9, T0 - 2, 4, reason="late")
_PLANS = {
    "catch up": [_MISSED, pending(T0), queued(T0 + 1)],
    "twice": [pending(T0), pending(T0 + 1)],
}
SOME = 9
"""Before every how many-th command a step is stopped in each run of the tests; in a soak: each."""

_FIELDS = {"owing", "outbox", "gone", "draft", "follows_of", "queued_of", "gate", "opens"}


def planned(record: TaskRecord) -> Plan:
    """Plan all runs that a task ever has."""
    runs = _PLANS.get(record.id) or [pending(record.fire_us)]
    return Plan(runs, ScheduleState.FINISHED, None, None, T0 + 9)


def counted(record: TaskRecord, _: Sequence[Ended]) -> None:
    """Note how often a task was moved on after its last run."""
    if not record.active:
        record.problem = str(int(record.problem or "0") + 1)


def lost(run: RunRecord, _: object) -> Verdict:
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
        for name in ("tasks", "runs", "nodes", "counters", "keys", "locks"):
            self.database.drop_collection(self.prefix + name)

    def execute(self, runs: Sequence[RunRecord], store: Store) -> None:
        """Finish runs, and note those of which that was taken."""
        batch = Batch(counted)
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
        due, waiting = store.plan(self._plan(node)), store.lease(self._lease(node))
        taken = [each.run for each in (*due.leased, *waiting.leased)]
        if any(run.key for run in taken):
            self._check_keys()
        return taken

    def _check_keys(self) -> None:
        """Look whether too many runs hold a key, or are on their way without it."""
        having = [
            run
            for run in self.bench.runs()
            if run.key is not None and (run.node is not None or run.available_us is not None)
        ]
        assert all(run.holds_key for run in having)
        for key, number in Counter(run.key for run in having).items():
            assert number <= max(run.key_limit for run in having if run.key == key)

    def _recovery(self) -> RecoverRequest:
        return RecoverRequest(NODE, self.bench.now_us, lost, counted, frozenset())

    def _plan(self, node: str) -> PlanRequest:
        return self.bench.plan_request(planned, node=node, now_us=self.bench.now_us + MINUTE)

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
        assert not list(self.database[f"{self.prefix}keys"].find()), "these keys are still held"
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


def end_everywhere(database: Database[dict[str, Any]], scenario: Scenario, every: int) -> None:
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
        tasks, runs, _ = home.bench.dump()
        histories = dict.fromkeys({*tasks, *(run.task_id for run in runs.values())}, 0)
        home.bench.second.prune(PruneRequest(histories, T0 + 1))

    prepared = scenario.prepare(home)
    home.gate.arm(lambda number: number == at, forget)
    with suppress(LeaseLostError):
        leased = scenario.step(home, prepared)
        home.gate.disarm()
        home.execute(leased, home.bench.store)
    return met


def stand_still_everywhere(
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


def repeat_everywhere(database: Database[dict[str, Any]], scenario: Scenario, every: int) -> None:
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
            home.bench.recover(lost, counted, held=held)
            scenario.step(home, prepared)
            _others_go_on(home)
            assert home.shown() == after, at
        at += every
    assert at > 10
