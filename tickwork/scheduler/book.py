"""The tasks of a scheduler's stores: adding and changing them, whether it fires or not.

Before the scheduler is connected, tasks are `pending`: kept here as they were declared, in no
store. Connecting writes them; from then on every call is one step of a store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

from tickwork.errors import (
    ConflictingTaskError,
    SchedulerStateError,
    TaskConfigurationError,
)
from tickwork.interfaces import OnDemand, Store, Trigger
from tickwork.model.definition import Definition, DefinitionCodec, Unreadable
from tickwork.model.etags import refuse_stale
from tickwork.model.events import TaskAdded, TaskChanged, TaskEvent
from tickwork.model.instants import from_us
from tickwork.model.policies import RunState, ScheduleState, Source
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import (
    TASK_REMOVED,
    CancelRequest,
    Edit,
    Edited,
    TaskQuery,
)
from tickwork.scheduler import planner
from tickwork.scheduler.declaring import Declared
from tickwork.scheduler.following import after_run
from tickwork.scheduler.guard import asked, guarded_trigger
from tickwork.scheduler.ids import RunIds
from tickwork.scheduler.lookup import Lookup, missing
from tickwork.scheduler.new_tasks import new_records
from tickwork.scheduler.store_clock import StoreClock

__all__ = ["Added", "Book"]

logger = logging.getLogger("tickwork.scheduler")

_REPORTED = 1_000
_DECLARED_FIELDS = tuple(each.name for each in fields(Definition))


class Added(NamedTuple):
    """What happened when tasks were put into a store."""

    changes: Mapping[str, type[TaskEvent] | None]
    """What became of tasks that were there, by id; all others are new."""
    due_us: int | None
    """When the first of all these is due."""


class Book(Lookup):
    """Tasks by store and id, and what changes them. Thread-safe as far as the stores are."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        clocks: Mapping[str, StoreClock],
        codec: DefinitionCodec,
        token: str,
    ) -> None:
        super().__init__(stores, clocks)
        self._codec = codec
        self.ids = RunIds(token)
        self.undeclared: list[tuple[str, str]] = []
        self._decorated: dict[tuple[str, str], Definition] = {}
        self.decorated_functions: dict[str, Declared] = {}
        self.run_on_startup: dict[str, frozenset[str]] = {}

    def new_id(self) -> str:
        """Return a new id for a task; later ones sort behind it, which keeps indexes compact."""
        return self.ids.at(self._clocks["default"].now_us())()

    # --- adding -------------------------------------------------------------------------------

    def add(self, declared: Sequence[Declared]) -> Mapping[str, Added]:
        """Add tasks; return what happened, by store; nothing has, while there is no connection.

        All are added, or none of a store.
        """
        for each in declared:
            self._refuse_second_decorator(each)
        if not self.connected:
            for each in declared:
                self._await_connection(each)
            return {}
        by_store: dict[str, list[Declared]] = {}
        for each in declared:
            by_store.setdefault(each.store, []).append(each)
        return {store: self._put(store, tasks) for store, tasks in by_store.items()}

    def _refuse_second_decorator(self, declared: Declared) -> None:
        """Refuse a decorator for a task that another one of this process declares differently."""
        if declared.definition.decorated:
            self.decorated_functions.setdefault(declared.definition.function, declared)
        if not declared.definition.decorated or declared.replaces:
            return
        key = (declared.store, declared.id)
        if self._decorated.setdefault(key, declared.definition) != declared.definition:
            raise _conflict(declared)

    def _await_connection(self, declared: Declared) -> None:
        key = (declared.store, declared.id)
        known = self.pending.get(key)
        if known is None or declared.replaces:
            self.pending[key] = declared
            return
        if (known.original or known.definition) != declared.definition:
            raise _conflict(declared)
        # Said again: what was done to it since, a pause or an edit, holds.
        said = declared.definition
        definition = replace(known.definition, target=said.target, gate=said.gate)
        self.pending[key] = replace(known, definition=definition)

    def write_pending(self) -> None:
        """Put what was declared before into the stores."""
        self.connected = True
        self.undeclared.clear()
        declared = list(self.pending.values())
        try:
            self.add(declared)
        except BaseException:
            self.connected = False
            raise
        self.pending.clear()
        self._report_undeclared(declared)

    def _report_undeclared(self, declared: Sequence[Declared]) -> None:
        """Say which tasks of the modules that declare some here are declared there no more."""
        mine = [each for each in declared if each.definition.decorated]
        ids = {(each.store, each.id) for each in mine}
        for store, module in {(each.store, each.definition.declared_in) for each in mine}:
            query = TaskQuery(declared_in=module, limit=_REPORTED)
            for task in self.find(store, query):
                if (store, task.id) not in ids:
                    self.undeclared.append((store, task.id))
                    logger.warning(
                        "task %s is in the store, but no longer declared in %s; remove it if it "
                        "isn't wanted any more", task.id, module, extra={"task_id": task.id},
                    )  # fmt: skip

    def _put(self, store: str, declared: Sequence[Declared]) -> Added:
        """Put tasks into a store."""
        now_us = self.now_us(store)
        by_id = {each.id: each for each in declared}
        new_id = self.ids.at(now_us)
        records = list(new_records(declared, now_us))

        changes: dict[str, type[TaskEvent] | None] = {}

        def decide(existing: TaskRecord, new: TaskRecord) -> Edit:
            edit = self._merged(existing, new, by_id[new.id], now_us)
            anew = edit.task is new
            changes[new.id] = None if edit.unchanged else TaskAdded if anew else TaskChanged
            return edit

        edited = self._stores[store].put(records, decide, new_id)

        def added() -> Iterator[TaskRecord]:
            return (each.task for each in edited if each.task is not None)

        self._note_starters(store, added())
        dues = (each.due_us for each in added() if each.due_us is not None)
        return Added(changes, min(dues, default=None))

    def _note_starters(self, store: str, tasks: Iterable[TaskRecord]) -> None:
        """Remember which declared tasks run at each start, as they stand in the store now."""
        for task in tasks:
            definition = task.definition
            starters = self.run_on_startup.get(store, frozenset())
            if isinstance(definition, Definition) and definition.run_on_startup:
                self.run_on_startup[store] = starters | {task.id}
            elif task.id in starters:
                self.run_on_startup[store] = starters - {task.id}

    def _merged(
        self, existing: TaskRecord, new: TaskRecord, declared: Declared, now_us: int
    ) -> Edit:
        """Decide about a task that is declared again."""
        if isinstance(existing.definition, Unreadable):
            raise ConflictingTaskError(
                f"task {existing.id!r} is in the store and can't be understood "
                f"({existing.definition.reason}); remove it, or choose another id"
            )
        current = existing.definition
        before = self._as_declared(existing)
        wanted = declared.definition
        if _is_over(existing) and wanted.trigger == before.trigger and _is_now(wanted.trigger):
            # "Once, now" said again after it was done is a new task under the old id.
            return Edit(new)
        if before == wanted:
            # What isn't stored, and so isn't compared, is as it was said last.
            own = replace(current, target=wanted.target, gate=wanted.gate)
            kept = wanted.target is None and wanted.gate is None and current.gate is None
            return Edit(replace(existing, definition=own), unchanged=kept)
        if not declared.updates:
            raise _conflict(declared)
        merged = _merge(before, current, wanted)
        text = None if merged == wanted else self._codec.encode(wanted)
        changed = replace(existing, definition=merged, declared=text, problem=None)
        # A first fire time that lies behind was meant for the first declaration.
        later = declared.first_us is not None and declared.first_us > now_us
        first_us = declared.first_us if later else None
        return _reconsidered(existing, changed, now_us, first_us)

    def _as_declared(self, task: TaskRecord) -> Definition:
        if task.declared is not None:
            return self._codec.decode(task.declared)
        return planner.definition_of(task)

    # --- changing -----------------------------------------------------------------------------

    def change(
        self,
        store: str,
        task_id: str,
        alter: Callable[[Definition], Definition],
        first_us: int | None = None,
        *,
        etag: str | None = None,
    ) -> None:
        """Change a task's definition; its declaration stays as it was."""
        pending = self.pending.get((store, task_id))
        if pending is not None:
            self.pending[store, task_id] = replace(
                pending,
                definition=alter(pending.definition),
                original=pending.original or pending.definition,
                first_us=pending.first_us if first_us is None else first_us,
            )
            return
        now_us = self.now_us(store)
        self._edit(
            store, task_id, lambda task: self._altered(task, alter, now_us, first_us), etag=etag
        )

    def _altered(
        self,
        task: TaskRecord,
        alter: Callable[[Definition], Definition],
        now_us: int,
        first_us: int | None,
    ) -> Edit:
        definition = planner.definition_of(task)
        declared = task.declared or self._codec.encode(definition)
        changed = replace(task, definition=alter(definition), declared=declared, problem=None)
        return _reconsidered(task, changed, now_us, first_us)

    def altered(
        self,
        store: str,
        task_id: str,
        alter: Callable[[Definition], Definition],
        first_us: int | None = None,
    ) -> tuple[TaskRecord, TaskRecord]:
        """Return a task as it stands, and as it would after a `change`, which doesn't happen."""
        before, _ = self.record(store, task_id)
        edit = self._altered(before, alter, self.now_us(store), first_us)
        return before, edit.task or before

    def pause(
        self,
        store: str,
        task_id: str,
        reason: str | None,
        until_us: int | None = None,
        *,
        etag: str | None = None,
    ) -> None:
        """Stop planning a task, until an instant if one is named; runs planned before go on."""
        pending = self.pending.get((store, task_id))
        if pending is not None:
            if until_us is not None:
                raise SchedulerStateError(
                    f"task {task_id!r} can't be paused until an instant yet: start the scheduler, "
                    "or connect() it"
                )
            self.pending[store, task_id] = replace(pending, paused=True)
            return
        now_us = self.now_us(store)
        if until_us is not None and until_us <= now_us:
            raise TaskConfigurationError(
                f"until={from_us(until_us).isoformat()} is not after now; name a later instant, or "
                "none to pause the task until somebody resumes it"
            )

        def decide(task: TaskRecord) -> Edit:
            if task.state is ScheduleState.FINISHED:
                return Edit(replace(task, paused_reason=reason or task.paused_reason))
            again = task.state is ScheduleState.PAUSED
            paused = replace(
                task,
                state=ScheduleState.PAUSED,
                due_us=until_us,
                catchup_us=until_us,
                paused_reason=(reason or task.paused_reason) if again else reason,
                updated_us=now_us,
                # Who says when it goes on, means it: failures count anew then.
                streak=task.streak if until_us is None else 0,
            )
            return Edit(paused)

        self._edit(store, task_id, decide, etag=etag)

    def resume(self, store: str, task_id: str, *, etag: str | None = None) -> None:
        """Go on with a paused task, strictly after now."""
        pending = self.pending.get((store, task_id))
        if pending is not None:
            self.pending[store, task_id] = replace(pending, paused=False)
            return
        now_us = self.now_us(store)

        def decide(task: TaskRecord) -> Edit:
            if task.state is not ScheduleState.PAUSED:
                return Edit(task, unchanged=True)
            trigger = planner.definition_of(task).trigger
            return asked(trigger, lambda: planner.resumed(task, now_us))

        self._edit(store, task_id, decide, etag=etag)

    def remove(self, store: str, task_ids: Sequence[str], *, etag: str | None = None) -> list[str]:
        """Remove tasks and cancel their pending runs; return the ids that were there."""
        gone = [each for each in task_ids if self.pending.pop((store, each), None) is not None]
        rest = [each for each in task_ids if each not in gone]
        if not self.connected or not rest:
            return gone
        now_us = self.now_us(store)
        there: list[str] = []

        def decide(task: TaskRecord) -> Edit:
            refuse_stale(task, etag)
            there.append(task.id)
            return Edit(None, cancel_pending=TASK_REMOVED)

        self._stores[store].edit(rest, decide, self.ids.at(now_us))
        return [*gone, *dict.fromkeys(there)]

    def run_now(self, store: str, task_id: str, source: Source = Source.MANUAL) -> RunRecord:
        """Add a run of a task that is executed at once, whatever its schedule says."""
        if not self.connected:
            raise SchedulerStateError(
                f"task {task_id!r} can't be run yet: start the scheduler, or connect() it"
            )
        return self.run_all(store, [task_id], source)[0]

    def run_at_start(self, store: str, task_ids: Sequence[str]) -> list[RunRecord]:
        """Add a run of each of these tasks that is scheduled, and has none pending or running."""
        now_us = self.now_us(store)

        def decide(task: TaskRecord) -> Edit:
            idle = task.state is ScheduleState.SCHEDULED and not task.active
            definition = task.definition
            wanted = isinstance(definition, Definition) and definition.run_on_startup
            if not (idle and wanted):
                return Edit(task, unchanged=True)
            return Edit(task, (planner.manual_run(now_us, Source.STARTUP),))

        edits = self._stores[store].edit(task_ids, decide, self.ids.at(now_us))
        return [run for edited in edits for run in edited.runs]

    def run_all(self, store: str, task_ids: Sequence[str], source: Source) -> list[RunRecord]:
        """Add a run of each of these tasks."""
        now_us = self.now_us(store)

        def decide(task: TaskRecord) -> Edit:
            # What can't be understood here has no executor that could be written down.
            planner.definition_of(task)
            return Edit(task, (planner.manual_run(now_us, source),))

        edits = self._stores[store].edit(task_ids, decide, self.ids.at(now_us))
        for task_id, edited in zip(task_ids, edits, strict=True):
            if edited.task is None:
                raise missing(task_id)
        return [run for edited in edits for run in edited.runs]

    def sign_again(self, store: str) -> int:
        """Write all definitions that can be read here anew; return how many."""
        written = seen = 0
        while found := self.find(store, TaskQuery(limit=_REPORTED, offset=seen)):
            seen += len(found)
            ids = [task.id for task in found if isinstance(task.definition, Definition)]
            self._stores[store].edit(ids, self._resigned, self.ids.at(self.now_us(store)))
            written += len(ids)
        return written

    def _resigned(self, task: TaskRecord) -> Edit:
        if isinstance(task.definition, Unreadable):
            return Edit(task, unchanged=True)
        declared = task.declared and self._codec.encode(self._codec.decode(task.declared))
        return Edit(replace(task, declared=declared))

    def cancel_pending(self, store: str, run_ids: Sequence[str], reason: str) -> None:
        """Cancel those of some runs that nobody has leased."""
        reader, on_demand = self.reader(store), self._stores[store]
        found = [reader.get_run(run_id) for run_id in run_ids]
        free = [run.id for run in found if run and run.state is RunState.PENDING and not run.node]
        if free and isinstance(on_demand, OnDemand):
            on_demand.cancel(CancelRequest(free, reason, self.now_us(store), after_run))

    def _edit(
        self,
        store: str,
        task_id: str,
        decide: Callable[[TaskRecord], Edit],
        *,
        etag: str | None = None,
    ) -> Edited:
        if not self.connected:
            raise missing(task_id)

        def checked(task: TaskRecord) -> Edit:
            refuse_stale(task, etag)
            return decide(task)

        new_id = self.ids.at(self.now_us(store))
        (edited,) = self._stores[store].edit([task_id], checked, new_id)
        if edited.task is None:
            raise missing(task_id)
        return edited


def _reconsidered(task: TaskRecord, changed: TaskRecord, now_us: int, first_us: int | None) -> Edit:
    """Do the planner's `reconsidered`; a trigger that fails can still be replaced by another."""
    before, after = planner.definition_of(task).trigger, planner.definition_of(changed).trigger
    due = None
    if before != after or first_us is not None:
        told = guarded_trigger(before, planner.owed, task, now_us)
        due = told.value or planner.untold(task, now_us, f"its trigger failed: {told.error!r}")
    return asked(after, lambda: planner.reconsidered(task, changed, now_us, first_us, due))


def _merge(before: Definition, current: Definition, wanted: Definition) -> Definition:
    """Take what the declaration changed since last time; keep what an operator edited."""
    changes: dict[str, Any] = {
        name: getattr(wanted, name)
        for name in _DECLARED_FIELDS
        if getattr(wanted, name) != getattr(before, name)
    }
    return replace(current, **{**changes, "target": wanted.target, "gate": wanted.gate})


def _is_over(task: TaskRecord) -> bool:
    return task.state is ScheduleState.FINISHED and not task.active


def _is_now(trigger: Trigger) -> bool:
    return trigger.kind == "date" and getattr(trigger, "run_at", None) is None


def _conflict(declared: Declared) -> ConflictingTaskError:
    if declared.unnamed:
        return ConflictingTaskError(
            f"task {declared.id!r} is there already with another definition; give this one an id= "
            "of its own, or say replace_existing=True to change the first"
        )
    return ConflictingTaskError(
        f"task {declared.id!r} is there already with another definition; choose another id, or say "
        "replace_existing=True to change it"
    )
