"""The tasks of a scheduler: adding, changing and looking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tickwork.errors import TaskConfigurationError, TaskNotFoundError
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.events import (
    TaskAdded,
    TaskChanged,
    TaskPaused,
    TaskRemoved,
    TaskResumed,
)
from tickwork.model.instants import NEVER_US
from tickwork.model.policies import ScheduleState, Source
from tickwork.model.steps import TaskQuery
from tickwork.scheduler.gates import GATES, check_seconds
from tickwork.scheduler.options import read_whole, read_word
from tickwork.scheduler.preview import preview, preview_task
from tickwork.scheduler.run import Run
from tickwork.scheduler.runs import SchedulerRuns
from tickwork.scheduler.spelling import (
    changed_definition,
    declaring_alike,
    read_options,
    read_spelling,
    remembering,
)
from tickwork.scheduler.task import Task
from tickwork.wiring import build_trigger, is_trigger_alias

if TYPE_CHECKING:
    from datetime import datetime

    from tickwork.interfaces import Trigger
    from tickwork.model.snapshots import NodeInfo, SchedulerInfo, TaskInfo
    from tickwork.scheduler.book import Added
    from tickwork.scheduler.declaring import Declared
    from tickwork.scheduler.gates import Gate

__all__ = ["SchedulerTasks"]

_PAGE = 1_000
_WAYS = frozenset({"every", "interval", "cron", "at"})


class SchedulerTasks(SchedulerRuns):
    """What a scheduler is asked to do, and what it keeps."""

    # --- adding -------------------------------------------------------------------------------

    def add_task(
        self,
        fn: Callable[..., Any] | str | Task | None = None,
        trigger: Trigger | str | None = None,
        **options: Any,
    ) -> Task:
        """Add a task: a function, when to call it, and how.

        `fn` is a callable, "module:qualname" or a `Task`. `trigger` is an alias (`interval`,
        `cron`, `date`, `calendar`, `and`, `or`, `shutdown`) with its arguments among `options`, or
        a trigger object; without one the function is called once, now. Without a function the
        result is a decorator. Before the scheduler is connected the task is kept as `pending`.

        Options: `args`, `kwargs`, `id`, `name`, `executor`, `store`, `scope` ("cluster", "node"),
        `coalesce` ("latest"/True, "earliest", "all"/False), `misfire_grace_time` (seconds, None for
        no limit), `max_instances`, `next_run_time` (the first fire time; None: paused),
        `replace_existing`, `paused`, `tags`, `jitter` (seconds), `delivery` ("at_least_once",
        "at_most_once"), `fixed_delay`; of attempts `timeout`, `retries`, `delay`, `backoff`,
        `max_delay`, `retry_jitter` (all in seconds), `retry_on`, `give_up_on`; of runs side by side
        `overlap` ("skip", "queue", "allow"), `max_queued`, `priority`, `concurrency_key`,
        `concurrency_limit`; `run_on_startup`, `max_runs`, `pause_after_failures`; of history
        `max_history`, `result_ttl` (seconds), `keep` ("all", "failures", "none"); of which process
        executes it `leader`, `max_lock_seconds`, `min_lock_seconds`, `sync` (scope "node").

        Raises:
            InvalidInputError: something of it could never work; the message says what to do.
            ConflictingTaskError: the id has another definition, and `replace_existing` is not set.
        """
        if isinstance(fn, Task):
            return self._submit(fn, trigger, options)
        if isinstance(fn, str) and ":" not in fn and is_trigger_alias(fn):
            if trigger is not None:
                raise TaskConfigurationError(f"{fn!r} is a trigger already; name only one")
            fn, trigger = None, fn
        if fn is None:
            return Task(None, trigger, scheduler=self, **options)
        return self._add([self._declare(fn, trigger, options)])[0]

    def _submit(
        self, task: Task, trigger: Trigger | str | None, overrides: Mapping[str, Any]
    ) -> Task:
        if task.fn is None:
            raise TaskConfigurationError(f"{task!r} has no function; use it as a decorator")
        options = dict(task.options)
        if trigger is not None:
            # Another trigger takes none of the arguments of the one before.
            options, _ = read_options(options)
        return self.add_task(task.fn, trigger or task.trigger, **{**options, **overrides})

    def add_tasks(self, tasks: Iterable[Task | Mapping[str, Any]]) -> list[Task]:
        """Add many tasks in one step per store; all of them, or none of a store.

        Each is a `Task`, or a mapping with `fn`, `trigger` and the options of `add_task`.
        """
        declared = []
        declare = declaring_alike(partial(self._declare_all, remembering(read_spelling)))
        for each in tasks:
            given: Mapping[str, Any]
            if isinstance(each, Task):
                given = {"fn": each.fn, "trigger": each.trigger, **each.options}
            else:
                given = each if type(each) is dict else dict(each)
            if given.get("fn") is None:
                raise TaskConfigurationError(f"{each!r} has no function: set fn=")
            declared.append(declare(given))
        return self._add(declared)

    def task(self, trigger: Trigger | str | None = None, **options: Any) -> Task:
        """Return a decorator that adds a function as a task, under the function's name.

        Says when in exactly one way: a trigger or its alias with arguments, `every="5m"` (or
        seconds, or a timedelta; `interval=` is its other name), `cron="0 2 * * *"`, or `at=`. The
        decorated function stays a plain function. Declared again at the next start, the task is
        updated where its definition changed.

        Raises:
            TaskConfigurationError: when is said in no way, or in several.
        """
        others, arguments = read_options(options)
        if GATES & others.keys():
            check_seconds(arguments)
        read_spelling(trigger, arguments)
        return Task(None, trigger, scheduler=self, **options)

    def _decorate(
        self,
        function: Callable[..., Any],
        trigger: Trigger | str | None,
        options: Mapping[str, Any],
    ) -> None:
        self._add([self._declare(function, trigger, options, decorated=True)])

    def _declare(
        self,
        fn: Callable[..., Any] | str,
        trigger: Trigger | str | None,
        given: Mapping[str, Any],
        *,
        decorated: bool = False,
        read: Callable[[object, Mapping[str, Any]], Trigger] = read_spelling,
    ) -> Declared:
        options, arguments = read_options(given)
        if trigger is None and not _WAYS & arguments.keys():
            trigger = "date"
        if GATES & options.keys():
            check_seconds(arguments)
        spelled = read(trigger, arguments)
        declared = self._declarer.declare(fn, spelled, options, decorated=decorated)
        self._stand_at(declared.definition.gate)
        return declared

    def _declare_all(
        self, read: Callable[[object, Mapping[str, Any]], Trigger], given: Mapping[str, Any]
    ) -> Declared:
        options = dict(given)
        fn, trigger = options.pop("fn"), options.pop("trigger", None)
        return self._declare(fn, trigger, options, read=read)

    def _stand_at(self, gate: Gate | None) -> None:
        if gate is not None:
            if gate.leader is not None:
                self.elect(gate.leader)
            if gate.sync is not None:
                gate.sync.belong_to(self)

    def _add(self, declared: Sequence[Declared]) -> list[Task]:
        self._stay_in_process()
        added = self._book.add(declared)
        for each in declared:
            happened = added[each.store].changes.get(each.id, TaskAdded) if added else None
            if happened is not None:
                self._tell(happened, task_id=each.id, store=each.store)
            if self._runtime and each.id in self._book.run_on_startup.get(each.store, ()):
                self._run_once_at_start(each.store, each.id)
        for store, what in added.items():
            self._have_looked_at(store, what)
        return [Task._bound(self, each.store, each.id) for each in declared]  # noqa: SLF001  its other half

    def _have_looked_at(self, store: str, added: Added) -> None:
        """Have new tasks planned in time, and what was there before looked at again."""
        runtime = self._runtime
        if added.changes:
            self._wake([store])
        elif runtime is not None:
            runtime.loops[store].look_at(NEVER_US if added.due_us is None else added.due_us)

    def _run_once_at_start(self, store: str, task_id: str) -> None:
        """Run a task that is declared after the start, if it hasn't run at this start yet."""
        if (store, task_id) not in self._ran_at_start:
            self._run_at_start({store: [task_id]})
            self._wake([store])

    def _wake(self, stores: Iterable[str]) -> None:
        runtime = self._runtime
        if runtime is not None:
            for store in stores:
                runtime.loops[store].forgive()

    # --- changing -----------------------------------------------------------------------------

    def update_task(
        self, task_id: str, *, store: str | None = None, etag: str | None = None, **changes: Any
    ) -> None:
        """Change options of a task, its trigger (`trigger=` with arguments) or its `next_run_time`.

        What was due before the change is planned by the old definition first. With the `etag` of a
        snapshot, nothing happens if the task was edited since.

        Raises:
            TaskNotFoundError: there is no such task.
            InvalidInputError: it can't be changed like that.
            StaleEditError: it has another `etag` by now.
        """
        name = self._book.store_of(task_id, store)
        if "next_run_time" in changes and changes["next_run_time"] is None:
            changes.pop("next_run_time")
            self.pause_task(task_id, store=name, etag=etag)
            etag = None
        alter, first_us = self._alteration(name, task_id, changes)
        self._book.change(name, task_id, alter, first_us, etag=etag)
        self._changed(TaskChanged, name, task_id)

    def preview_update(
        self, task_id: str, *, store: str | None = None, count: int = 5, **changes: Any
    ) -> tuple[TaskInfo, TaskInfo, list[datetime]]:
        """Return a task as it stands, as it would after an `update_task`, and its fires then.

        Nothing is changed.

        Raises:
            TaskNotFoundError: there is no such task.
            InvalidInputError: it can't be changed like that.
        """
        from tickwork.model.snapshots import task_info

        name = self._book.store_of(task_id, store)
        alter, first_us = self._alteration(name, task_id, changes)
        before, after = self._book.altered(name, task_id, alter, first_us)
        return task_info(before, name), task_info(after, name), preview_task(after, count)

    def _alteration(
        self, store: str, task_id: str, changes: Mapping[str, Any]
    ) -> tuple[Callable[[Definition], Definition], int | None]:
        """Return what changes make of a definition, and the first fire time that they name."""
        options, arguments = self._read_changes(changes)
        first_us = self._declarer.instant(options.pop("next_run_time", None))
        trigger = None
        if "trigger" in changes or arguments:
            trigger = read_spelling(changes.get("trigger"), arguments)
        target = self._target(store, task_id, options)
        return changed_definition(self._declarer, options, trigger, target), first_us

    @staticmethod
    def _read_changes(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        words = {name: value for name, value in changes.items() if name != "trigger"}
        return read_options(words)

    def _target(
        self, store: str, task_id: str, options: Mapping[str, Any]
    ) -> Callable[..., Any] | None:
        if not {"args", "kwargs", "concurrency_key"} & options.keys():
            return None
        record, _ = self._book.record(store, task_id)
        definition = record.definition
        if isinstance(definition, Unreadable):
            return None
        if self._registry.target(definition) is None:
            self._registry.resolve(definition.function)
        return self._registry.target(definition)

    def reschedule_task(
        self,
        task_id: str,
        trigger: Trigger | str | None = None,
        *,
        store: str | None = None,
        etag: str | None = None,
        **trigger_arguments: Any,
    ) -> None:
        """Change the trigger of a task; the new schedule counts from now."""
        name = self._book.store_of(task_id, store)
        spelled = read_spelling(trigger, trigger_arguments)
        alter = changed_definition(self._declarer, {}, spelled, None)
        self._book.change(name, task_id, alter, etag=etag)
        self._changed(TaskChanged, name, task_id)

    def pause_task(
        self,
        task_id: str,
        *,
        reason: str | None = None,
        until: datetime | None = None,
        store: str | None = None,
        etag: str | None = None,
    ) -> None:
        """Stop planning a task; runs planned before go on.

        With `until` (aware, or read in the scheduler's time zone) it goes on by itself then,
        whichever node is there at that time; a fire time at that very instant is executed.
        """
        name = self._book.store_of(task_id, store)
        until_us = self._declarer.instant(until)
        self._book.pause(name, task_id, reason, until_us, etag=etag)
        self._changed(TaskPaused, name, task_id)

    def resume_task(
        self, task_id: str, *, store: str | None = None, etag: str | None = None
    ) -> None:
        """Go on strictly after now; what was skipped meanwhile is recorded as one range."""
        name = self._book.store_of(task_id, store)
        self._book.resume(name, task_id, etag=etag)
        self._changed(TaskResumed, name, task_id)

    def remove_task(
        self, task_id: str, *, store: str | None = None, etag: str | None = None
    ) -> None:
        """Remove a task and cancel its pending runs; its history stays."""
        name = self._book.store_of(task_id, store)
        if not self._book.remove(name, [task_id], etag=etag):
            raise TaskNotFoundError(f"there is no task {task_id!r}")
        self._changed(TaskRemoved, name, task_id)

    def remove_all_tasks(self, *, store: str | None = None) -> int:
        """Remove all tasks of a store, or of all stores; return how many there were."""
        removed = 0
        for name in self._named(store):
            pending = [task_id for at, task_id in list(self._book.pending) if at == name]
            removed += len(self._book.remove(name, pending))
            while page := self._book.find(name, TaskQuery(limit=_PAGE)):
                for task_id in self._book.remove(name, [task.id for task in page]):
                    removed += 1
                    self._changed(TaskRemoved, name, task_id)
        return removed

    def run_task(self, task_id: str, *, store: str | None = None) -> Run:
        """Execute a task now, whatever its schedule says, and without touching that."""
        name = self._book.store_of(task_id, store)
        run = self._book.run_now(name, task_id, Source.MANUAL)
        self._wake([name])
        return Run(self, run.id, task_id, name, name=self._name_of(run, name))

    def _changed(self, kind: type[Any], store: str, task_id: str) -> None:
        if self._book.connected:
            self._tell(kind, task_id=task_id, store=store)
        self._wake([store])

    # --- looking ------------------------------------------------------------------------------

    def get_task(self, task_id: str, *, store: str | None = None) -> Task:
        """Return a task.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        return Task._bound(self, self._book.store_of(task_id, store), task_id)  # noqa: SLF001  its other half

    def get_task_info(self, task_id: str, *, store: str | None = None) -> TaskInfo:
        """Return a task as it stands now."""
        from tickwork.model.snapshots import task_info

        name = store or self._book.store_of(task_id, None)
        record, state = self._book.record(name, task_id)
        return self._book.explained([task_info(record, name, state)], name)[0]

    def get_tasks(
        self,
        *,
        store: str | None = None,
        state: str | ScheduleState | None = None,
        executor: str | None = None,
        function: str | None = None,
        trigger: str | None = None,
        tag: str | None = None,
        search: str | None = None,
        sort: str = "id",
        limit: int = 100,
        offset: int = 0,
    ) -> list[TaskInfo]:
        """Return a page of tasks as they stand now, pending ones first.

        `search` is part of an id or a name; `sort` is `id`, `name`, `next_run_time` or
        `created_at`, with `-` in front for descending. Pages are per store.
        """
        from tickwork.model.snapshots import task_info

        query = TaskQuery(
            state=None if state is None else read_word("state", ScheduleState, state),
            executor=executor,
            function=function,
            trigger=trigger,
            tag=tag,
            search=search,
            sort=sort,
            limit=read_whole("limit", limit, 0),
            offset=read_whole("offset", offset, 0),
        )
        found = []
        for name in self._named(store):
            pending = ScheduleState.PENDING
            found += [
                task_info(task, name, pending) for task in self._book.find_pending(name, query)
            ]
            stored = [task_info(task, name) for task in self._book.find(name, query)]
            found += self._book.explained(stored, name)
        return found

    def sign_again(self) -> int:
        """Write every definition that can be read anew, signed with the first key; return how many.

        Then older keys may go.
        """
        with self._connected() as book:
            return sum(book.sign_again(name) for name in self._stores)

    def nodes(self) -> list[NodeInfo]:
        """Return the started schedulers that share this one's stores, also dead ones."""
        from tickwork.model.snapshots import node_info

        with self._connected() as book:
            return [
                node_info(node, name) for name in self._stores for node in book.reader(name).nodes()
            ]

    def preview(
        self, task_or_trigger: Task | Trigger | str, count: int = 5, **trigger_arguments: Any
    ) -> list[datetime]:
        """Return the next fire times of a task (or its id), or of a trigger added now; in UTC."""
        now_us = self._clock.now_us()
        if isinstance(task_or_trigger, str) and not is_trigger_alias(task_or_trigger):
            task_or_trigger = self.get_task(task_or_trigger)
        if isinstance(task_or_trigger, Task):
            record, _ = self._book.record(task_or_trigger.store, task_or_trigger.id)
            return preview_task(record, count)
        trigger, _ = self._declarer.settled(build_trigger(task_or_trigger, trigger_arguments))
        return preview(trigger, now_us, count)

    def snapshot(self) -> SchedulerInfo:
        """Return the scheduler as it stands now."""
        from tickwork.model.snapshots import SchedulerInfo

        runtime = self._runtime
        connected = self._book.connected
        return SchedulerInfo(
            state=self.state,
            timezone=str(self._declarer.zone),
            stores={name: store.kind for name, store in self._stores.items()},
            executors={name: executor.kind for name, executor in self._executors.items()},
            nodes={name: loop.node_id for name, loop in runtime.loops.items()} if runtime else {},
            tasks={
                name: dict(self._book.reader(name).counts()) for name in self._stores if connected
            },
            pending_tasks=len(self._book.pending),
            in_flight=runtime.in_flight() if runtime else 0,
        )

    def _named(self, store: str | None) -> list[str]:
        if store is None:
            return list(self._stores)
        if store not in self._stores:
            raise TaskConfigurationError(
                f"there is no store {store!r}; this scheduler has {', '.join(self._stores)}"
            )
        return [store]
