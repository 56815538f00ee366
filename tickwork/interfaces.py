"""The protocols in which the parts of tickwork meet; the file to read first.

Triggers say when, stores keep, executors run, clocks tell the time; the scheduler decides. None of
them imports another: each knows only what stands here and in `tickwork.model`. Powers that not
everybody has are protocols of their own, tested with `isinstance`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from tickwork.model.jobs import Job, Outcome

if TYPE_CHECKING:
    # Definitions hold triggers, which are defined here.
    from tickwork.model.definition import DefinitionCodec
    from tickwork.model.keeping import Document, DocumentQuery
    from tickwork.model.locks import LockRecord, LockRequest
    from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
    from tickwork.model.steps import (
        Batch,
        Beat,
        CancelRequest,
        Edit,
        Edited,
        LeaseReply,
        LeaseRequest,
        PlanReply,
        PlanRequest,
        PruneRequest,
        RecoverReply,
        RecoverRequest,
        RunQuery,
        TaskQuery,
    )

__all__ = [
    "Anchored",
    "Arithmetic",
    "Cancelling",
    "Clock",
    "Executor",
    "ExecutorEnvironment",
    "InstantTrigger",
    "Keeping",
    "Leftover",
    "Locking",
    "OnDemand",
    "Periodic",
    "Reader",
    "Store",
    "StoreEnvironment",
    "Timekeeping",
    "Trigger",
    "Watching",
    "Zoned",
]


@runtime_checkable
class Trigger(Protocol):
    """A stateless rule: when to fire next.

    Values are immutable and compare by what they mean. `str(trigger)` is a one-line description
    for people.
    """

    kind: ClassVar[str]

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first fire time strictly after an aware instant, in UTC, or None for never.

        Bounded in time; results increase strictly when fed back.
        """

    def to_json(self) -> dict[str, Any]:
        """Return JSON data with `kind` and `version`, from which `from_json` makes an equal one."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make the trigger that `to_json` described.

        Raises:
            InvalidTriggerError: the data is of another kind or of an unknown version.
        """


@runtime_checkable
class Anchored(Protocol):
    """A trigger that counts from an anchor, and may not have one yet."""

    def anchored(self, at: datetime) -> Trigger:
        """Return this trigger counting from `at`; itself where it has an anchor of its own."""


@runtime_checkable
class Zoned(Protocol):
    """A trigger that reads wall clocks, and may not know in which time zone yet."""

    def in_timezone(self, zone: tzinfo) -> Trigger:
        """Return this trigger reading in `zone`; itself where it has a time zone of its own."""


@runtime_checkable
class Arithmetic(Protocol):
    """A trigger that needs no enumeration to catch up."""

    def last_fire_time(self, at: datetime) -> datetime | None:
        """Return the last fire time at or before `at`, or None where there is none."""

    def count_between(self, after: datetime, until: datetime) -> int:
        """Return how many fire times lie strictly after `after` and at or before `until`."""


@runtime_checkable
class InstantTrigger(Protocol):
    """The same three questions, asked and answered in microseconds: what the planner prefers."""

    def next_us(self, after_us: int) -> int | None:
        """Return the first fire time strictly after `after_us`, or None for never."""

    def last_us(self, at_us: int) -> int | None:
        """Return the last fire time at or before `at_us`, or None where there is none."""

    def count_us(self, after_us: int, until_us: int) -> int:
        """Return how many fire times lie in (`after_us`, `until_us`]."""


@runtime_checkable
class Periodic(Protocol):
    """A trigger whose fire times lie evenly apart in elapsed time."""

    @property
    def interval(self) -> timedelta:
        """The time from one fire time to the next."""


@runtime_checkable
class Clock(Protocol):
    """Tells the time, and lets threads wait for it."""

    def now_us(self) -> int:
        """Return the present instant."""

    def wait(self, until_us: int | None, woken: threading.Event) -> None:
        """Return at an instant, when `woken` is set, or earlier for no reason; None is never."""


class ExecutorEnvironment(NamedTuple):
    """What a scheduler lends to its executors.

    `now_us` tells the scheduler's time; `report` takes outcomes from any thread, in batches where
    that is natural, and returns at once; `loop` is the application's event loop, where it has one.
    Log records below `log_level` aren't kept with their run.
    """

    now_us: Callable[[], int]
    report: Callable[[Sequence[Outcome]], None]
    loop: asyncio.AbstractEventLoop | None = None
    log_level: int = 0


class Leftover(NamedTuple):
    """What an executor could not finish when it was stopped."""

    unstarted: list[Job]
    running: list[Job]


@runtime_checkable
class Executor(Protocol):
    """Runs jobs; several schedulers' loops may call it at the same time, from any thread."""

    kind: ClassVar[str]

    def open(self, environment: ExecutorEnvironment) -> None:
        """Begin to work; called once before everything else, and again after a `stop`."""

    def reserve(self, wanted: int) -> int:
        """Set aside up to `wanted` places and return how many; never blocks.

        Places may be more than can start at once, if the executor expects to be done with the
        jobs before them within moments.
        """

    def release(self, places: int) -> None:
        """Give back places that were reserved and will not be used."""

    def idle(self) -> int:
        """Return how many jobs would start at once, in reserved places as well as in free ones."""

    def start(self, jobs: Sequence[Job]) -> None:
        """Take jobs into places reserved before; each is reported exactly once.

        Never raises for what a job does. A place is free again when its job is reported.
        """

    def stop(self, timeout_s: float) -> Leftover:
        """Stop starting jobs, wait for running ones, and say what is left after `timeout_s`.

        Jobs that are returned are not reported any more, nor is anything else after this call.
        Coroutines left over are cancelled and processes ended; threads can't be, they go on.
        """


@runtime_checkable
class Cancelling(Protocol):
    """An executor that can end a job before it ends by itself."""

    ends_running: ClassVar[bool]
    """Whether running jobs can be ended too, by `cancel` and by a `stop` whose time is over; else
    only those that still wait."""

    def cancel(self, run_id: str) -> bool:
        """Ask for the end of a run; it is reported as `cancelled`, never begun or in the middle.

        False where it isn't here, or runs and can't be ended.
        """


class StoreEnvironment(NamedTuple):
    """What a scheduler lends to its stores: how to read definitions, and the scheduler's time.

    A store whose server has a clock goes by that clock. With `simulated`, the time of a test
    stands in for all clocks, and `now_us` is that of the server as well. With `existing`, somebody
    only wants to look: what isn't there must not be made.
    """

    codec: DefinitionCodec
    now_us: Callable[[], int]
    simulated: bool = False
    existing: bool = False


@runtime_checkable
class Store(Protocol):
    """Keeps tasks, runs and nodes; each method is one atomic step.

    Of many tasks or runs, `plan` and `finish` may take several, each of them whole for its tasks
    and runs.

    Synchronous and safe to call from several threads and, where `persistent`, from several
    processes. A step happens whole or not at all. When a step raises `StoreUnavailableError`, it
    isn't known which, and the caller may repeat it: each is written so that a repetition does
    nothing new. Records that come back are the caller's own copies. Instants are microseconds.
    """

    kind: ClassVar[str]
    persistent: ClassVar[bool]
    """Whether tasks outlive the process, and other processes may share them.

    A store whose steps mostly wait for a server, which takes several at a time, may say so by
    `overlaps = True`: runs are written as over while others are planned then.
    """

    def open(self, environment: StoreEnvironment) -> None:
        """Make ready to work, creating or migrating the schema; again after `close`.

        Raises:
            NotFoundError: only what is `existing` was asked for, and tickwork was never here, or
                an older one; nothing was changed.
        """

    def close(self) -> None:
        """Let go of connections; what is kept stays."""

    def put(
        self,
        tasks: Sequence[TaskRecord],
        decide: Callable[[TaskRecord, TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> Sequence[Edited]:
        """Add tasks; all of them or, if `decide` raises, none.

        For an id that exists, `decide(existing, new)` says what becomes of it; an edit whose
        record has another generation replaces the task. The answers are in the order of `tasks`.
        Cost: one look-up and one insert a task.
        """

    def edit(
        self,
        ids: Sequence[str],
        decide: Callable[[TaskRecord], Edit],
        new_id: Callable[[], str],
    ) -> list[Edited]:
        """Change tasks as `decide` says of each, whatever else happens to them meanwhile.

        The answers are in the order of `ids`; for an id that isn't there, `decide` isn't called and
        the record is None. Removing a task cancels its pending runs and keeps the others. The
        revision grows by one.
        """

    def plan(self, request: PlanRequest) -> PlanReply:
        """Turn due tasks into runs: all or nothing for each task.

        Qualifying: tasks that are eligible and have `wake_us` <= `now_us` (scheduled ones that are
        due, and those whose pause is over), the longest due first. Each moves on as decided, if its
        revision is still the one that was decided about; its runs are added under their unique
        slots (a slot that exists already is passed over), and `active` grows by those that are
        pending. New runs are leased to the node, in the order of planning, up to the capacity of
        their executor. A second caller sees the tasks moved on.
        Cost: that of the due rows, found through an index.

        Raises:
            LeaseLostError: the node isn't registered (any more). What was leased to it by then is
                taken over as all that it had.
        """

    def lease(self, request: LeaseRequest) -> LeaseReply:
        """Give pending runs to a node: unleased, eligible, with `available_us` <= `now_us`.

        The lowest rank first, of these the longest available. A lease counts as an attempt, and has
        a fence higher than any before it in this store. A second caller doesn't get the same run
        while the lease holds. A run whose own definition can't be understood here becomes
        available again later.

        Raises:
            LeaseLostError: the node isn't registered (any more); nothing was leased.
        """

    def finish(self, batch: Batch) -> frozenset[str]:
        """Write what happened to leased runs; return the ids of those whose lease was lost.

        Each entry takes effect only if the run is still leased under its fence; one that took
        effect before is accepted again without doing anything. When a run is over, its task's
        `active` shrinks, as many queued runs as that lets go become available, the next run that
        waits for its key gets it, and where the entry says so `after_run` moves the task on. Notes
        that come too late are dropped without a word.
        """

    def beat(self, node: NodeRecord, lease_us: int, *, leaving: bool = False) -> Beat:
        """Renew the leases of a node until `lease_us` from now, by the store's clock.

        A node is registered by its first beat (`beat_us` of 0). Later ones answer `alive` false,
        and renew nothing, once it has been declared dead. With `leaving` the node is
        forgotten, or, where runs are still leased to it, left for its lease to end.
        """

    def recover(self, request: RecoverRequest) -> RecoverReply:
        """Declare nodes dead whose lease is over, and take their runs over, as decided for each.

        What was over already, but still leased since it lingered, is only counted as over now: it
        isn't decided about, and keeps all that is written of it. The entry of a node stays until
        all its runs are taken over. With `held`, runs leased to `node` itself that it doesn't hold
        go back to pending as if they had never been leased.
        """

    def prune(self, request: PruneRequest) -> int:
        """Forget old runs that are over, and finished tasks; return how many rows went."""


@runtime_checkable
class Reader(Protocol):
    """Lists what a store keeps, for people; reading changes nothing and imports nothing."""

    def get_task(self, task_id: str) -> TaskRecord | None:
        """Return a task, or None."""

    def find_tasks(self, query: TaskQuery) -> list[TaskRecord]:
        """Return a page of tasks."""

    def get_run(self, run_id: str) -> RunRecord | None:
        """Return a run, or None."""

    def find_runs(self, query: RunQuery) -> list[RunRecord]:
        """Return a page of runs, newest first."""

    def count_tasks(self, query: TaskQuery) -> int:
        """Return how many tasks there are on all pages together."""

    def count_runs(self, query: RunQuery) -> int:
        """Return how many runs there are on all pages together."""

    def nodes(self) -> list[NodeRecord]:
        """Return the nodes that are registered, also those whose lease is over."""

    def counts(self) -> Mapping[str, int]:
        """Return the number of tasks by schedule state."""


@runtime_checkable
class OnDemand(Protocol):
    """A store that takes runs without a task, and ends runs on demand."""

    def submit(self, runs: Sequence[RunRecord]) -> None:
        """Add pending runs that have a definition of their own, to be leased like all others.

        One whose id is there already is passed over: a repeated call adds nothing. One with a key
        waits for it. A run without a task outlives tasks of the same id.
        """

    def cancel(self, request: CancelRequest) -> list[RunRecord | None]:
        """End runs; return them as they stand then, in the order asked for, None for unknown ones.

        A run that is cancelled lets go of what it held: the task goes on as after any other run
        (`after_run` is called for each task once, with all its ends), its key goes to the next one.
        """

    def asked(self, node: str) -> list[str]:
        """Return the runs leased to a node, and not over, whose end was asked for."""


@runtime_checkable
class Locking(Protocol):
    """A store that keeps locks: names that one owner at a time has, for so long as it said.

    Leases are measured by the store's clock, and who owns a lock is compared in the statement that
    changes it. A step that raised `StoreUnavailableError` may be repeated. `prune` forgets locks
    that neither are held nor say anything any more.
    """

    def acquire_lock(self, request: LockRequest) -> LockRecord:
        """Give a lock to who asks for it, if `model.locks.may_have` says so; return it as it is.

        It is theirs if it has their `owner` then. One that they have already keeps its fence, and
        gets the new lease.
        """

    def renew_lock(self, name: str, owner: str, lease_us: int, kept_us: int | None = None) -> bool:
        """Have a lock end `lease_us` from now, or with 0 give it back; False where it isn't theirs.

        With `kept_us`, it is kept until that label from now on, and with 0 for none.
        """

    def locks(self) -> list[LockRecord]:
        """Return the locks that are held or kept, by name."""


@runtime_checkable
class Keeping(Protocol):
    """A store that keeps documents, for whatever else is to be shared and survive.

    Revisions are compared in the statement that writes. A step that raised `StoreUnavailableError`
    may have taken effect: repeated with `expected`, it then answers as if another had been quicker.
    `prune` forgets what has expired, so many at a time.
    """

    def keep(self, document: Document, expected: int | None = None) -> int | None:
        """Write a document and return its new revision.

        Where its revision isn't `expected` (0: there is none), change nothing and return None. Of
        several who expect the same revision of the same document, one succeeds.
        """

    def forget(self, kind: str, key: str, expected: int | None = None) -> bool:
        """Remove a document; False where there is none, or its revision isn't `expected`."""

    def documents(self, query: DocumentQuery) -> list[Document]:
        """Return a page of documents."""


@runtime_checkable
class Timekeeping(Protocol):
    """A store whose server has a clock of its own, by which leases are measured."""

    def now_us(self) -> int:
        """Return the present instant by that clock; the scheduler's where time is simulated."""


@runtime_checkable
class Watching(Protocol):
    """A store that can tell when another process changed something.

    Hints only make things faster: they may come late, twice, for nothing, or not at all.
    """

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake`, from any thread, soon after something may have become due; until `close`.

        Returns at once. Trouble with the connection is the watcher's own to mend.
        """
