"""What can be done to tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from tickwork.errors import ConflictError, ConflictingTaskError, InvalidInputError
from tickwork.interfaces import Trigger
from tickwork.model.definition import Definition
from tickwork.model.etags import etag_of
from tickwork.model.functions import name_of, resolve
from tickwork.model.instants import from_us
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.snapshots import TaskInfo
from tickwork.model.steps import TaskQuery
from tickwork.model.values import decode_arguments
from tickwork.service.audit import data_of
from tickwork.service.cursors import make_cursor, read_cursor
from tickwork.service.errors import FunctionNotAllowedError
from tickwork.service.models import (
    FunctionView,
    NewTask,
    Page,
    Pause,
    PreviewRequest,
    PreviewView,
    RunSummary,
    Schedule,
    TaskChange,
    TaskFilter,
    TaskPreview,
    TaskView,
)
from tickwork.service.operations.base import OperationsBase
from tickwork.service.roles import Action
from tickwork.service.rules import HIDDEN
from tickwork.service.schedules import read_schedule, read_trigger
from tickwork.service.views import changes_between, summary_of, task_view

__all__ = ["TaskOperations"]

_LATE_US = 10_000_000
"""How long after its time a task that isn't planned yet is late."""

_FIRES = 5


class _Place(NamedTuple):
    """Where a page begins: the store, the value of the sort and the id of the task before."""

    store: str
    after: tuple[str | int | None, str] | None


class TaskOperations(OperationsBase):
    """Listing, adding and changing tasks."""

    # --- looking ------------------------------------------------------------------------------

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
        self, task_id: str, count: int = _FIRES, *, store: str | None = None
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
        trigger = _trigger_of(request)
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

    # --- adding -------------------------------------------------------------------------------

    def list_functions(self) -> list[FunctionView]:
        """Return the functions that tasks may be made of, and patterns of others."""
        self._look(Action.FUNCTIONS_LIST)
        declared = self.reach.declared
        patterns = [each for each in self.rules.allow if each not in declared]
        return [
            *(FunctionView(reference=each, registered=True) for each in declared),
            *(FunctionView(reference=each, registered=False) for each in patterns),
        ]

    def create_task(self, new: NewTask) -> TaskView:
        """Add a task of a function that is allowed.

        Raises:
            FunctionNotAllowedError: no task may be made of this function.
            ConflictingTaskError: there is a task of this id.
            InvalidInputError: something of it could never work.
        """
        target = new.id or new.function
        with self._doing(Action.TASKS_CREATE, target) as doing:
            self._check_function(new.function)
            store = new.store or "default"
            self.reach.names(store)
            if new.id is not None and self.reach.reader(store).get_task(new.id) is not None:
                raise ConflictingTaskError(
                    f"there is a task {new.id!r} already; change it, or choose another id"
                )
            task = self.scheduler.add_task(new.function, _trigger_of(new), **_options_of(new))
            made = self._task(task.id, store)
            doing.after = data_of(made)
        return made

    def _check_function(self, reference: str) -> None:
        declared = self.reach.declared
        if not self.rules.allows(reference, declared):
            known = ", ".join([*declared, *self.rules.allow]) or "none"
            raise FunctionNotAllowedError(
                f"no task may be made of {reference!r} from here; these may: {known}. The "
                "application declares tasks of others by decorators, or its settings `allow` them"
            )
        if self.rules.is_exact(reference, declared):
            return
        function = resolve(reference)
        module, _, name = reference.partition(":")
        if getattr(function, "__module__", None) != module or name_of(function) != name:
            raise FunctionNotAllowedError(
                f"{reference!r} is defined elsewhere; a pattern of the setting `allow` concerns "
                "what is defined in a module, and not what is imported there"
            )

    # --- changing -----------------------------------------------------------------------------

    def change_task(
        self,
        task_id: str,
        change: TaskChange,
        *,
        store: str | None = None,
        etag: str | None = None,
        dry_run: bool = False,
    ) -> TaskPreview:
        """Change options of a task, its schedule, or its next fire time; or only say what would be.

        Raises:
            TaskNotFoundError: there is no such task.
            StaleEditError: it was edited since its `etag` was as given.
        """
        return self._change(Action.TASKS_CHANGE, task_id, change, store, etag, dry_run=dry_run)

    def reschedule_task(
        self,
        task_id: str,
        schedule: Schedule,
        *,
        store: str | None = None,
        etag: str | None = None,
        dry_run: bool = False,
    ) -> TaskPreview:
        """Change the schedule of a task, counted from now; or only say what would be."""
        said = schedule.model_dump(exclude_unset=True)
        if not {"schedule", "trigger"} & said.keys():
            raise InvalidInputError("say `schedule`, or `trigger` with its `arguments`")
        change = TaskChange(**said)
        action = Action.TASKS_RESCHEDULE
        return self._change(action, task_id, change, store, etag, dry_run=dry_run)

    def _change(  # noqa: PLR0917  the parts of one question
        self,
        action: Action,
        task_id: str,
        change: TaskChange,
        store: str | None,
        etag: str | None,
        *,
        dry_run: bool,
    ) -> TaskPreview:
        self._require(action, task_id)
        self.reach.names(store)
        record, name = self.reach.record(task_id, store)
        changes = self._changes(change, record)
        if dry_run:
            return self._preview(record, name, changes)
        with self._doing(action, task_id) as doing:
            self.scheduler.update_task(task_id, store=name, etag=etag, **changes)
            after = self._task(task_id, name)
            # Not sooner: which arguments are hidden is known once the function is.
            changed = changes_between(self._view(record, name), after)
            doing.after = {each.field: {"before": each.before, "after": each.after}
                           for each in changed}  # fmt: skip
        fires = self.preview_task(task_id, store=name)
        return TaskPreview(task=after, changes=changed, fire_times=fires, applied=True)

    def _preview(self, record: TaskRecord, store: str, changes: Mapping[str, Any]) -> TaskPreview:
        pauses = "next_run_time" in changes and changes["next_run_time"] is None
        others = {name: value for name, value in changes.items() if not (
            pauses and name == "next_run_time"
        )}  # fmt: skip
        _, info, fires = self.scheduler.preview_update(
            record.id, store=store, count=_FIRES, **others
        )
        if pauses:
            fires = []
            paused = {"schedule_state": ScheduleState.PAUSED, "next_run_time": None}
            info = info.model_copy(update=paused)
        after = self._previewed(info, record, changes.get("trigger"))
        # Not sooner: which arguments are hidden is known once the function is.
        changed = changes_between(self._view(record, store), after)
        return TaskPreview(task=after, changes=changed, fire_times=fires, applied=False)

    def _previewed(self, info: TaskInfo, record: TaskRecord, trigger: Trigger | None) -> TaskView:
        stored, definition = record, record.definition
        if trigger is not None and isinstance(definition, Definition):
            settled = replace(definition, trigger=self.reach.settled(trigger))
            record = replace(record, definition=settled)
        # Nothing has happened: who goes on to make this change names the task as it stands.
        stands = {"etag": etag_of(stored), "updated_at": from_us(stored.updated_us)}
        view = task_view(info, record, self.rules, self._function(record))
        return view.model_copy(update=stands)

    def _changes(self, change: TaskChange, record: TaskRecord) -> dict[str, Any]:
        """Return what `Scheduler.update_task` is to be told."""
        changes = change.said()
        for name in ("args", "kwargs"):
            if name in changes:
                changes[name] = self._unmasked(name, changes[name], record)
        trigger = _trigger_of(change)
        if trigger is not None:
            changes["trigger"] = trigger
        if "next_run_time" in change.model_fields_set:
            changes["next_run_time"] = change.next_run_time
        if not changes:
            raise InvalidInputError("nothing to change was named")
        return changes

    def _unmasked(self, name: str, values: Any, record: TaskRecord) -> Any:
        """Return arguments with what was hidden put back where it still stands as hidden."""
        definition = record.definition
        if HIDDEN not in repr(values) or not isinstance(definition, Definition):
            return values
        args, kwargs = decode_arguments(definition.payload, self.reach.function_of(definition))
        return _put_back(values, list(args) if name == "args" else kwargs)

    def pause_task(
        self,
        task_id: str,
        pause: Pause | None = None,
        *,
        store: str | None = None,
        etag: str | None = None,
    ) -> TaskView:
        """Stop planning a task, for a reason, and until some time if one is named."""
        pause = pause or Pause()
        self._require(Action.TASKS_PAUSE, task_id)
        before, name = self._before(task_id, store)
        with self._doing(Action.TASKS_PAUSE, task_id, before) as doing:
            self.scheduler.pause_task(
                task_id, reason=pause.reason, until=pause.until, store=name, etag=etag
            )
            doing.after = data_of(pause) | {"schedule_state": "paused"}
            return self._task(task_id, name)

    def resume_task(
        self, task_id: str, *, store: str | None = None, etag: str | None = None
    ) -> TaskView:
        """Go on with a paused task; what it skipped is recorded as one range."""
        self._require(Action.TASKS_RESUME, task_id)
        before, name = self._before(task_id, store)
        with self._doing(Action.TASKS_RESUME, task_id, before):
            self.scheduler.resume_task(task_id, store=name, etag=etag)
            return self._task(task_id, name)

    def run_task(self, task_id: str, *, store: str | None = None) -> RunSummary:
        """Execute a task now, beside its schedule."""
        self._require(Action.TASKS_RUN, task_id)
        name = self._named(task_id, store)
        with self._doing(Action.TASKS_RUN, task_id) as doing:
            run = self.scheduler.run_task(task_id, store=name)
            doing.after = {"run": run.id}
            return summary_of(run.snapshot())

    def remove_task(
        self, task_id: str, *, store: str | None = None, etag: str | None = None
    ) -> None:
        """Remove a task and cancel its pending runs; its history stays."""
        self._require(Action.TASKS_REMOVE, task_id)
        task = self._view(*self.reach.record(task_id, self._named(task_id, store)))
        before = data_of(task)
        with self._doing(Action.TASKS_REMOVE, task_id, before):
            self.scheduler.remove_task(task_id, store=task.store, etag=etag)

    def _named(self, task_id: str, store: str | None) -> str:
        self.reach.names(store)
        return self.reach.store_of(task_id, store)

    def _before(self, task_id: str, store: str | None) -> tuple[dict[str, Any], str]:
        task = self._task(task_id, store)
        names = {"schedule_state", "paused_reason", "paused_until", "next_run_time"}
        return {name: value for name, value in data_of(task).items() if name in names}, task.store


def _trigger_of(schedule: Schedule) -> Trigger | None:
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


def _options_of(new: NewTask) -> dict[str, Any]:
    options = new.said()
    for name in ("id", "store"):
        value = getattr(new, name)
        if value is not None:
            options[name] = value
    if "next_run_time" in new.model_fields_set:
        options["next_run_time"] = new.next_run_time
    if new.paused:
        options["paused"] = True
    return options


def _put_back(values: Any, known: Any) -> Any:
    if values == HIDDEN:
        return known
    if isinstance(values, list):
        places = list(known) if isinstance(known, (list, tuple)) else []
        if HIDDEN in repr(values) and len(places) < len(values):
            raise ConflictError("what is hidden can't be put back; give these arguments anew")
        return [_put_back(each, places[at]) if at < len(places) else each
                for at, each in enumerate(values)]  # fmt: skip
    if isinstance(values, Mapping):
        old = known if isinstance(known, Mapping) else {}
        found = {}
        for name, each in values.items():
            if HIDDEN in repr(each) and name not in old:
                raise ConflictError(f"there is no hidden {name!r} to keep; give its value")
            found[name] = _put_back(each, old.get(name))
        return found
    return values


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
