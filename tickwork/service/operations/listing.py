"""Looking at tasks, at what they may be made of, and at what schedules would do."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Trigger
from tickwork.model.definition import Definition
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import TaskQuery
from tickwork.service.cursors import make_cursor, read_cursor
from tickwork.service.models import (
    FunctionView,
    Page,
    PreviewRequest,
    PreviewView,
    Schedule,
    TaskFilter,
    TaskView,
)
from tickwork.service.operations.base import OperationsBase
from tickwork.service.roles import Action
from tickwork.service.schedules import read_schedule, read_trigger

__all__ = ["FIRES", "TaskListing", "trigger_of"]

FIRES = 5
"""How many fires are shown unless somebody wants more or fewer."""

_LATE_US = 10_000_000
"""How long after its time a task that isn't planned yet is late."""


class _Place(NamedTuple):
    """Where a page begins: the store, the value of the sort and the id of the task before."""

    store: str
    after: tuple[str | int | None, str] | None


class TaskListing(OperationsBase):
    """Looking at tasks."""

    def list_tasks(
        self,
        filters: TaskFilter | None = None,
        *,
        sort: str = "id",
        limit: int = 100,
        cursor: str | None = None,
        total: bool = False,
    ) -> Page[TaskView]:
        """Return a page of tasks; one store after the other, each in the order of `sort`.

        `sort` is `id`, `name`, `next_run_time` or `created_at`, with `-` in front for descending.

        Raises:
            InvalidInputError: the cursor is none of a list with this order.
        """
        self._look(Action.TASKS_LIST)
        filters = filters or TaskFilter()
        names = self.reach.names(filters.store)
        place = _Place(names[0], None) if cursor is None else _place(cursor, sort, names)
        found: list[tuple[TaskRecord, str]] = []
        for name in names[names.index(place.store) :]:
            after = place.after if name == place.store else None
            query = self._query(filters, name, sort=sort, limit=limit + 1 - len(found), after=after)
            found += [(record, name) for record in self.reach.reader(name).find_tasks(query)]
            if len(found) > limit:
                break
        items = []
        for name, together in groupby(found[:limit], lambda each: each[1]):
            items += self._views([record for record, _ in together], name)
        following = _cursor(sort, *found[limit - 1]) if len(found) > limit else None
        counted = self.count_tasks(filters) if total else None
        return Page(items=items, next_cursor=following, total=counted)

    def count_tasks(self, filters: TaskFilter | None = None) -> int:
        """Return how many tasks a filter finds."""
        self._look(Action.TASKS_LIST)
        filters = filters or TaskFilter()
        return sum(
            self.reach.reader(name).count_tasks(self._query(filters, name))
            for name in self.reach.names(filters.store)
        )

    def _query(self, filters: TaskFilter, store: str, **words: Any) -> TaskQuery:
        late_us = self.reach.now_us(store) - _LATE_US if filters.late else None
        return TaskQuery(
            state=None if filters.state is None else ScheduleState(filters.state),
            executor=filters.executor,
            function=filters.function,
            trigger=filters.trigger,
            tag=filters.tag,
            search=filters.search,
            due_before_us=late_us,
            failing=filters.failing,
            **words,
        )

    def get_task(self, task_id: str, *, store: str | None = None) -> TaskView:
        """Return a task as it stands now.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        self._look(Action.TASKS_READ)
        return self._task(task_id, store)

    def _task(self, task_id: str, store: str | None) -> TaskView:
        self.reach.names(store)
        return self._view(*self.reach.record(task_id, store))

    def preview_task(
        self, task_id: str, count: int = FIRES, *, store: str | None = None
    ) -> list[datetime]:
        """Return the next fire times of a task, in UTC."""
        self._look(Action.TASKS_READ)
        name = self.reach.store_of(task_id, store)
        return self.scheduler.preview(self.scheduler.get_task(task_id, store=name), count)

    def preview(self, request: PreviewRequest) -> PreviewView:
        """Return the next fire times of a schedule that would begin now.

        Raises:
            InvalidInputError: it can't be understood.
        """
        self._look(Action.TASKS_PREVIEW)
        trigger = trigger_of(request)
        if trigger is None:
            raise InvalidInputError("say `schedule`, or `trigger` with its `arguments`")
        settled = self.reach.settled(trigger)
        fires = self.scheduler.preview(settled, request.count)
        zone = getattr(settled, "timezone", None)
        return PreviewView(
            kind=settled.kind,
            description=str(settled),
            timezone=None if zone is None else str(zone),
            fire_times=fires,
            local_times=[each.astimezone(zone).isoformat() for each in fires],
        )

    def list_functions(self) -> list[FunctionView]:
        """Return the functions that tasks may be made of, and patterns of others."""
        self._look(Action.FUNCTIONS_LIST)
        declared = self.reach.declared
        patterns = [each for each in self.rules.allow if each not in declared]
        return [
            *(FunctionView(reference=each, registered=True) for each in declared),
            *(FunctionView(reference=each, registered=False) for each in patterns),
        ]


def trigger_of(schedule: Schedule) -> Trigger | None:
    """Return the trigger that is asked for, None where none is."""
    if schedule.schedule is not None and (schedule.trigger is not None or schedule.arguments):
        raise InvalidInputError("say either `schedule`, or `trigger` with its `arguments`")
    if schedule.schedule is not None:
        return read_schedule(schedule.schedule, schedule.timezone)
    if schedule.trigger is None:
        if schedule.arguments or schedule.timezone is not None:
            raise InvalidInputError("`arguments` and `timezone` need a `trigger` or a `schedule`")
        return None
    arguments = dict(schedule.arguments)
    if schedule.timezone is not None:
        arguments["timezone"] = schedule.timezone
    return read_trigger(schedule.trigger, arguments)


def _place(cursor: str, sort: str, names: list[str]) -> _Place:
    value_kind = (str, int, type(None))
    order, store, value, task_id = read_cursor(cursor, [str, str, value_kind, str])
    word = sort.removeprefix("-")
    numeric = word in {"next_run_time", "created_at"}
    fits = value is None or isinstance(value, int if numeric else str)
    if order != sort or store not in names or not fits or not isinstance(task_id, str):
        raise InvalidInputError(
            f"cursor={cursor[:40]!r} belongs to a list with another order or other filters"
        )
    return _Place(str(store), (value, task_id))


def _cursor(sort: str, record: TaskRecord, store: str) -> str:
    """Return the cursor behind a task."""
    definition = record.definition
    name = definition.name if isinstance(definition, Definition) else ""
    value: str | int | None = {
        "id": record.id,
        "name": name,
        "next_run_time": record.due_us,
        "created_at": record.created_us,
    }[sort.removeprefix("-")]
    return make_cursor(sort, store, value, record.id)
