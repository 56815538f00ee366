"""What the tests of a store have at hand: a clock that stands still, short requests, a dump.

Nothing of the scheduler takes part. A store doesn't know what a trigger means, and the decisions
that it is handed here are the simplest that show what it does with them.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple, cast

from tickwork.errors import UnreadableRecordError
from tickwork.interfaces import OnDemand, Reader, Store, StoreEnvironment
from tickwork.model.definition import Definition, DefinitionCodec, Unreadable
from tickwork.model.instants import SECOND
from tickwork.model.policies import TERMINAL, RunState, ScheduleState, Source
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import (
    Batch,
    CancelRequest,
    Deferral,
    Edit,
    Edited,
    Eligibility,
    Ended,
    Finished,
    GivenBack,
    LeaseReply,
    LeaseRequest,
    Mark,
    Note,
    Plan,
    PlannedRun,
    PlanReply,
    PlanRequest,
    RecoverReply,
    RecoverRequest,
    RunQuery,
    TaskQuery,
    Verdict,
)
from tickwork.triggers import IntervalTrigger
from tickwork.wiring import load_trigger

__all__ = [
    "ALL_EXECUTORS",
    "EXECUTOR",
    "LEASE_US",
    "MINUTE",
    "NODE",
    "OTHER",
    "ROOM",
    "T0",
    "Bench",
    "Dump",
    "decide_never",
    "definition",
    "finished",
    "given_back",
    "moves_on",
    "once",
    "pending",
    "queued",
    "raised",
    "removed",
    "runs_now",
    "task",
]

T0 = 1_767_225_600 * SECOND
"""The instant at which a test begins: 2026-01-01 00:00 UTC."""

MINUTE = 60 * SECOND
LEASE_US = 30 * SECOND
NODE, OTHER = "node-1", "node-2"
EXECUTOR = "threadpool"
ALL_EXECUTORS = frozenset({EXECUTOR, "asyncio", "processpool"})
ROOM: Mapping[str, int] = {EXECUTOR: 10_000}
_EVERYTHING = 1_000_000
_FOR_EVER_US = 10_000 * 365 * 86_400 * SECOND

Decide = Callable[[TaskRecord], Plan | Deferral]


def definition(**fields: Any) -> Definition:
    """Return a definition that differs from a plain one in `fields`."""
    plain: dict[str, Any] = {
        "function": "shop.jobs:close_day",
        "trigger": IntervalTrigger(minutes=1),
        "name": "close day",
        "executor": EXECUTOR,
    }
    return Definition(**{**plain, **fields})


def task(task_id: str = "task", due_us: int | None = T0, **fields: Any) -> TaskRecord:
    """Return a task that is due at an instant; `fields` are those of records and definitions."""
    words = set(TaskRecord.__dataclass_fields__)
    record = {name: value for name, value in fields.items() if name in words}
    others = {name: value for name, value in fields.items() if name not in words}
    record.setdefault("definition", definition(**others))
    plain = {"generation": 1, "fire_us": due_us, "due_us": due_us, "created_us": T0}
    return TaskRecord(id=task_id, **{**plain, "updated_us": T0, **record})


def pending(fire_us: int | None, due_us: int | None = None, **fields: Any) -> PlannedRun:
    """Return a planned run for a fire time, or without a slot."""
    due = due_us if due_us is not None else fire_us if fire_us is not None else T0
    return PlannedRun(RunState.PENDING, fire_us, due, fire_us, fire_us)._replace(**fields)


def queued(fire_us: int) -> PlannedRun:
    """Return a planned run that waits for another of its task to end."""
    return pending(fire_us, queued=True)


def moves_on(
    *runs: PlannedRun, next_us: int | None = None, planned_us: int | None = None
) -> Decide:
    """Return a decision that makes these runs, whatever the task, and goes to `next_us`."""
    state = ScheduleState.SCHEDULED if next_us is not None else ScheduleState.FINISHED
    plan = Plan(runs, state, next_us, next_us, planned_us)
    return lambda _: plan


def once(record: TaskRecord) -> Plan:
    """Plan the fire time at which a task stands, as its last."""
    assert record.fire_us is not None
    return Plan([pending(record.fire_us)], ScheduleState.FINISHED, None, None, record.fire_us)


def decide_never(*_: object) -> Any:
    """Fail: the store had nothing to ask about."""
    raise AssertionError("the store asked for a decision that it had no reason to ask for")


def runs_now(*runs: PlannedRun) -> Callable[[TaskRecord], Edit]:
    """Return an edit that leaves a task as it is and adds runs."""
    return lambda record: Edit(record, runs)


def removed(reason: str | None = None) -> Callable[[TaskRecord], Edit]:
    """Return an edit that removes a task, cancelling what is pending for a reason."""
    return lambda _: Edit(None, cancel_pending=reason)


def finished(run: RunRecord, state: RunState = RunState.COMPLETED, **fields: Any) -> Finished:
    """Return that a leased run is over, a second after it began."""
    entry = Finished(
        run.id, run.task_id, run.generation, run.fence, state, T0 + SECOND, T0 + 2 * SECOND
    )
    return entry._replace(**fields)


def given_back(run: RunRecord, available_us: int = T0, **fields: Any) -> GivenBack:
    """Return that a leased run goes back to pending."""
    return GivenBack(run.id, run.fence, available_us)._replace(**fields)


def _pending_again(run: RunRecord, _: Definition | Unreadable | None) -> Verdict:
    return Verdict(RunState.PENDING, run.crashes, run.suspect)


def _nothing(_: TaskRecord, __: Sequence[Ended]) -> None:
    return None


def raised(kind: type[Exception], call: Callable[[], object]) -> str:
    """Return the message of the error that a call must raise."""
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} must be raised")


class Dump(NamedTuple):
    """All that a store shows, by id."""

    tasks: dict[str, TaskRecord]
    runs: dict[str, RunRecord]
    nodes: dict[str, NodeRecord]


class _Codec(DefinitionCodec):
    """A codec that doesn't understand the texts it was told not to."""

    def __init__(self) -> None:
        super().__init__(load_trigger)
        self.refused: set[str] = set()

    def decode(self, text: str) -> Definition:
        if text in self.refused:
            raise UnreadableRecordError("a definition of version 99")
        return super().decode(text)


class Bench:
    """An open store with its clock. `second` is another client of the same data."""

    def __init__(self, store: Store, second: Store) -> None:
        self.store = store
        self.second = second
        self.now_us = T0
        self.codec = _Codec()
        self._registered: set[str] = set()
        self._made = count()

    def open(self, *, existing: bool = False) -> None:
        """Open both clients."""
        environment = StoreEnvironment(
            self.codec, lambda: self.now_us, simulated=True, existing=existing
        )
        for each in self._clients():
            each.open(environment)

    def close(self) -> None:
        """Close both clients."""
        for each in self._clients():
            each.close()

    def spoil(self, *task_ids: str) -> None:
        """Make the definitions of tasks such as this version can't understand."""
        for each in task_ids:
            odd = replace(cast("Definition", self.task(each).definition), name=f"spoilt {each}")
            self.edit(lambda record, new=odd: Edit(replace(record, definition=new)), each)  # type: ignore[misc]
            text = self.codec.encode(odd)
            self.codec.refused.add(text)
            # A store that keeps records instead of texts keeps this one.
            unreadable = Unreadable(text, "a definition of version 99")
            self.edit(lambda record, new=unreadable: Edit(replace(record, definition=new)), each)  # type: ignore[misc]

    def _clients(self) -> list[Store]:
        return [self.store] if self.second is self.store else [self.store, self.second]

    @property
    def reader(self) -> Reader:
        """The store, as one that can be read."""
        assert isinstance(self.store, Reader), "tests look at what a store holds as a Reader"
        return cast("Reader", self.store)

    def new_id(self) -> str:
        """Return an id as schedulers make them: the newest is the greatest."""
        return f"{T0:014x}{next(self._made):06x}contract"

    # -- steps

    def put(self, *tasks: TaskRecord, decide: Any = decide_never) -> Sequence[Edited]:
        """Add tasks."""
        return self.store.put([copy(each) for each in tasks], decide, self.new_id)

    def edit(self, decide: Callable[[TaskRecord], Edit], *ids: str) -> list[Edited]:
        """Change tasks; the one named "task" where none is named."""
        return self.store.edit(ids or ["task"], decide, self.new_id)

    def plan_request(self, decide: Decide = once, **fields: Any) -> PlanRequest:
        """Return a request to plan everything that is due, and to lease it."""
        self._ensure_registered(fields.get("node", NODE))
        everything = PlanRequest(
            NODE, self.now_us, 1_000, Eligibility(ALL_EXECUTORS), ROOM, decide, self.new_id
        )
        return replace(everything, **fields)

    def plan(
        self, decide: Decide = once, *, store: Store | None = None, **fields: Any
    ) -> PlanReply:
        """Plan once; what comes back are tuples, whatever sequences they were."""
        reply = (store or self.store).plan(self.plan_request(decide, **fields))
        leased, recorded, deferred, next_us, more = reply
        return PlanReply(tuple(leased), tuple(recorded), tuple(deferred), next_us, more)

    def lease_request(self, **fields: Any) -> LeaseRequest:
        """Return a request to lease everything that is available."""
        self._ensure_registered(fields.get("node", NODE))
        everything = LeaseRequest(NODE, self.now_us, Eligibility(ALL_EXECUTORS), ROOM)
        return replace(everything, **fields)

    def lease(self, *, store: Store | None = None, **fields: Any) -> LeaseReply:
        """Lease once; what comes back are tuples."""
        leased, next_us, deferred = (store or self.store).lease(self.lease_request(**fields))
        return LeaseReply(tuple(leased), next_us, tuple(deferred))

    def finish(
        self,
        *entries: Finished | GivenBack | Mark | Note,
        after_run: Any = _nothing,
        store: Store | None = None,
    ) -> frozenset[str]:
        """Write a batch."""
        batch = Batch(after_run)
        for each in entries:
            if isinstance(each, Mark):
                batch.marks.append(each)
            elif isinstance(each, Note):
                batch.notes.append(each)
            elif isinstance(each, GivenBack):
                batch.given_back.append(each)
            else:
                batch.finished.append(each)
        return (store or self.store).finish(batch)

    @property
    def demand(self) -> OnDemand:
        """The store, as one that takes runs without a task."""
        assert isinstance(self.store, OnDemand), "this store takes no runs without a task"
        return cast("OnDemand", self.store)

    def submit(self, **fields: Any) -> RunRecord:
        """Submit a run of its own definition; `fields` are those of runs and definitions."""
        words = set(RunRecord.__dataclass_fields__)
        record = {name: value for name, value in fields.items() if name in words}
        own = definition(**{name: each for name, each in fields.items() if name not in words})
        plain: dict[str, Any] = {
            "id": self.new_id(),
            "task_id": own.function,
            "generation": 0,
            "state": RunState.PENDING,
            "source": Source.MANUAL,
            "due_us": T0,
            "function": own.function,
            "executor": own.executor,
            "available_us": T0,
            "created_us": T0,
            "rank": -own.priority,
            "key": own.concurrency_key,
            "key_limit": own.concurrency_limit if own.concurrency_key else 0,
            "definition": own,
        }
        run = RunRecord(**{**plain, **record})
        self.demand.submit([run])
        return self.run(run)

    def cancel(
        self, *runs: RunRecord | str, after_run: Any = _nothing, reason: str = "cancelled"
    ) -> list[RunRecord | None]:
        """Cancel runs now."""
        ids = [each if isinstance(each, str) else each.id for each in runs]
        return list(self.demand.cancel(CancelRequest(ids, reason, self.now_us, after_run)))

    def register(self, *node_ids: str, lease_us: int = LEASE_US) -> None:
        """Register nodes; those that plan or lease without being so are registered for ever."""
        for each in node_ids:
            self._registered.add(each)
            assert self.store.beat(NodeRecord(id=each), lease_us).alive

    def _ensure_registered(self, node_id: str) -> None:
        if node_id not in self._registered:
            self.register(node_id, lease_us=_FOR_EVER_US)

    def recover(
        self, decide: Any = _pending_again, after_run: Any = _nothing, **fields: Any
    ) -> RecoverReply:
        """Recover once; what comes back are tuples."""
        everything = RecoverRequest(NODE, self.now_us, decide, after_run)
        runs, dead, more = self.store.recover(replace(everything, **fields))
        return RecoverReply(tuple(runs), tuple(dead), more)

    # -- situations

    def leased(self, *tasks: TaskRecord, **fields: Any) -> list[RunRecord]:
        """Add tasks, plan them, and return their runs, leased."""
        self.put(*tasks)
        reply = self.plan(**fields)
        runs = {each.run.task_id: copy(each.run) for each in reply.leased}
        return [runs.pop(each.id) for each in tasks]

    def leased_with_queue(self, *fires: int, **fields: Any) -> tuple[RunRecord, list[RunRecord]]:
        """Add a task with one leased run and queued ones; return both."""
        self.put(task(due_us=T0, **fields))
        first, *others = fires
        runs = [pending(first), *(queued(each) for each in others)]
        reply = self.plan(moves_on(*runs, planned_us=fires[-1]))
        [leased] = reply.leased
        return copy(leased.run), list(reply.recorded)

    # -- looking

    def task(self, task_id: str = "task") -> TaskRecord:
        """Return a task as it stands."""
        found = self.reader.get_task(task_id)
        assert found is not None, f"task {task_id!r} is gone"
        return found

    def run(self, run: RunRecord | str) -> RunRecord:
        """Return a run as it stands."""
        found = self.reader.get_run(run if isinstance(run, str) else run.id)
        assert found is not None, f"run {run!r} is gone"
        return found

    def runs(self, task_id: str | None = None) -> list[RunRecord]:
        """Return all runs, oldest first."""
        return self.reader.find_runs(RunQuery(task_id=task_id, limit=_EVERYTHING))[::-1]

    def active(self, task_id: str = "task") -> tuple[int, int]:
        """Return how many runs of a task are active and queued, checking against its runs."""
        record = self.task(task_id)
        open_runs = [
            each
            for each in self.runs(task_id)
            if (each.state not in TERMINAL or each.node is not None)
            and each.generation == record.generation
        ]
        waiting = [
            each
            for each in open_runs
            if each.available_us is None and each.gated_us is None and each.node is None
        ]
        assert (record.active, record.queued) == (len(open_runs), len(waiting))
        return record.active, record.queued

    def dump(self) -> Dump:
        """Return everything that can be seen."""
        tasks = self.reader.find_tasks(TaskQuery(limit=_EVERYTHING))
        return Dump(
            {each.id: each for each in tasks},
            {each.id: each for each in self.runs()},
            {each.id: each for each in self.reader.nodes()},
        )
