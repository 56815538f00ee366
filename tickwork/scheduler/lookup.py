"""Looking at the tasks and runs of a scheduler's stores, and at tasks that are in none yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tickwork.errors import (
    RunNotFoundError,
    SchedulerStateError,
    StoreError,
    TaskConfigurationError,
    TaskNotFoundError,
)
from tickwork.interfaces import Reader, Store
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.listing import page_of_tasks
from tickwork.model.policies import ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import RunQuery, TaskQuery
from tickwork.scheduler import planner
from tickwork.scheduler.declaring import Declared
from tickwork.scheduler.guard import asked
from tickwork.scheduler.store_clock import StoreClock

if TYPE_CHECKING:
    from tickwork.model.snapshots import TaskInfo

__all__ = ["Lookup", "missing"]

_NAMED = 500
"""How many tasks are read by one statement."""


class Lookup:
    """Tasks and runs by store and id; `pending` are those that wait for a connection."""

    def __init__(self, stores: Mapping[str, Store], clocks: Mapping[str, StoreClock]) -> None:
        self._stores = stores
        self._clocks = clocks
        self.pending: dict[tuple[str, str], Declared] = {}
        self.connected = False

    def now_us(self, store: str) -> int:
        """Return the present instant by a store's clock."""
        clock = self._clocks[store]
        if self.connected:
            clock.refresh()
        return clock.now_us()

    def store_of(self, task_id: str, store: str | None) -> str:
        """Return the name of the store that has a task.

        Raises:
            TaskNotFoundError: none has it.
            TaskConfigurationError: several have it, or there is no store of the name given.
        """
        if store is not None and store not in self._stores:
            raise TaskConfigurationError(
                f"there is no store {store!r}; this scheduler has {', '.join(self._stores)}"
            )
        names = [store] if store is not None else list(self._stores)
        found = [name for name in names if (name, task_id) in self.pending]
        if self.connected:
            found += [
                name
                for name in names
                if name not in found and self.reader(name).get_task(task_id) is not None
            ]
        if not found:
            raise missing(task_id)
        if len(found) > 1:
            raise TaskConfigurationError(
                f"several stores have a task {task_id!r}: say store={' or store='.join(found)}"
            )
        return found[0]

    def reader(self, store: str) -> Reader:
        """Return a store as one that can be read."""
        reader = self._stores[store]
        if not isinstance(reader, Reader):
            raise SchedulerStateError(f"store {store!r} can't be listed: it has no Reader methods")
        return reader

    def record(self, store: str, task_id: str) -> tuple[TaskRecord, ScheduleState]:
        """Return a task as it stands, with its state as people see it."""
        pending = self.pending.get((store, task_id))
        if pending is not None:
            return self._pending_record(pending), ScheduleState.PENDING
        task = self.reader(store).get_task(task_id) if self.connected else None
        if task is None:
            raise missing(task_id)
        return task, task.state

    def _pending_record(self, declared: Declared) -> TaskRecord:
        state = ScheduleState.PAUSED if declared.paused else ScheduleState.SCHEDULED
        now_us = self.now_us(declared.store)
        record = TaskRecord(
            id=declared.id, generation=0, definition=declared.definition, state=state
        )
        trigger = declared.definition.trigger
        return asked(trigger, lambda: planner.new_task(record, now_us, declared.first_us))

    def explained(self, infos: list[TaskInfo], store: str) -> list[TaskInfo]:
        """Add to views of tasks why no node that lives can execute them, where that is so."""
        unexplained = any(info.problem is None for info in infos)
        now_us = self.now_us(store)
        nodes = self.reader(store).nodes() if self.connected and unexplained else []
        nodes = [node for node in nodes if node.expires_us > now_us]
        if not nodes:
            return infos
        executors = {name for node in nodes for name in node.executors}
        unresolved = set.intersection(*(set(node.unresolved) for node in nodes))
        return [
            info
            if (problem := _problem(info, executors, unresolved)) is None
            else info.model_copy(update={"problem": problem})
            for info in infos
        ]

    def find_pending(self, store: str, query: TaskQuery) -> list[TaskRecord]:
        """Return a page of the tasks that wait for a connection."""
        if self.connected or query.state not in {None, ScheduleState.PENDING}:
            return []
        waiting = [each for (name, _), each in list(self.pending.items()) if name == store]
        any_state = replace(query, state=None)
        return page_of_tasks((self._pending_record(each) for each in waiting), any_state)

    def find(self, store: str, query: TaskQuery) -> list[TaskRecord]:
        """Return a page of the tasks in a store; pending ones are no part of it."""
        return self.reader(store).find_tasks(query) if self.connected else []

    def run(self, run_id: str, store: str | None = None) -> tuple[RunRecord, str]:
        """Return a run and the name of its store."""
        names = list(self._stores) if store is None else [store]
        failed: StoreError | None = None
        for name in names if self.connected else ():
            try:
                run = self.reader(name).get_run(run_id)
            except StoreError as error:
                # Perhaps another one has it.
                failed = error
                continue
            if run is not None:
                return run, name
        if failed is not None:
            raise failed
        raise RunNotFoundError(f"there is no run {run_id!r}; it may have been pruned")

    def definitions_of(
        self, runs: Iterable[tuple[RunRecord, str]]
    ) -> dict[str, Definition | Unreadable | None]:
        """Return the definitions of runs by their ids: their own, or those of their tasks now."""
        runs = list(runs)
        ids: dict[str, dict[str, None]] = {}
        for run, store in runs:
            if run.definition is None:
                ids.setdefault(store, {})[run.task_id] = None
        tasks = {
            (store, task.id): task.definition
            for store, some in ids.items()
            for task in self._named(store, list(some))
        }
        return {run.id: run.definition or tasks.get((store, run.task_id)) for run, store in runs}

    def _named(self, store: str, ids: Sequence[str]) -> Iterator[TaskRecord]:
        """Yield the tasks of these ids that are there, many of them at a time."""
        for start in range(0, len(ids), _NAMED):
            some = frozenset(ids[start : start + _NAMED])
            yield from self.reader(store).find_tasks(TaskQuery(ids=some, limit=len(some)))

    def runs(self, stores: Iterable[str], query: RunQuery) -> list[tuple[RunRecord, str]]:
        """Return the newest runs of some stores."""
        if not self.connected:
            return []
        wide = replace(query, offset=0, limit=query.offset + query.limit)
        found = [(run, name) for name in stores for run in self.reader(name).find_runs(wide)]
        found.sort(key=lambda each: each[0].id, reverse=True)
        return found[query.offset : query.offset + query.limit]


def _problem(info: TaskInfo, executors: set[str], unresolved: set[str]) -> str | None:
    if info.problem is not None or info.schedule_state is not ScheduleState.SCHEDULED:
        return None
    if info.executor not in executors:
        return f"no running scheduler has its executor {info.executor!r}"
    if info.callable_reference in unresolved:
        return f"no running scheduler can import {info.callable_reference!r}"
    return None


def missing(task_id: str) -> TaskNotFoundError:
    """Return the error for a task that is nowhere."""
    return TaskNotFoundError(f"there is no task {task_id!r}")
