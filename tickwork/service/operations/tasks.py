"""What can be done to tasks: adding, changing, pausing, running, removing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tickwork.errors import ConflictError, ConflictingTaskError, InvalidInputError
from tickwork.interfaces import Trigger
from tickwork.model.definition import Definition
from tickwork.model.etags import etag_of
from tickwork.model.functions import name_of, resolve
from tickwork.model.instants import from_us
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.snapshots import TaskInfo
from tickwork.model.values import decode_arguments
from tickwork.service.audit import data_of
from tickwork.service.errors import FunctionNotAllowedError
from tickwork.service.models import (
    NewTask,
    Pause,
    RunSummary,
    Schedule,
    TaskChange,
    TaskPreview,
    TaskView,
)
from tickwork.service.operations.listing import FIRES, TaskListing, trigger_of
from tickwork.service.roles import Action
from tickwork.service.rules import HIDDEN
from tickwork.service.views import changes_between, summary_of, task_view

__all__ = ["TaskOperations"]


class TaskOperations(TaskListing):
    """Adding and changing tasks."""

    # --- adding -------------------------------------------------------------------------------

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
            task = self.scheduler.add_task(new.function, trigger_of(new), **_options_of(new))
            if new.paused:
                self._pauses(store).note(task.id, self.actor.name, Pause())
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
            if "next_run_time" in changes and changes["next_run_time"] is None:
                self._pauses(name).note(task_id, self.actor.name, Pause())
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
            record.id, store=store, count=FIRES, **others
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
        trigger = trigger_of(change)
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
            self._pauses(name).note(task_id, self.actor.name, pause)
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
            self._pauses(name).forget(task_id)
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
            self._pauses(task.store).forget(task_id)

    def _named(self, task_id: str, store: str | None) -> str:
        self.reach.names(store)
        return self.reach.store_of(task_id, store)

    def _before(self, task_id: str, store: str | None) -> tuple[dict[str, Any], str]:
        task = self._task(task_id, store)
        names = {"schedule_state", "paused_reason", "paused_until", "next_run_time"}
        return {name: value for name, value in data_of(task).items() if name in names}, task.store


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
