"""The scheduler's runs, as applications see them: submitted, looked at, cancelled, tried again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tickwork.errors import (
    ConflictError,
    InvalidInputError,
    RunNotFoundError,
    SchedulerStateError,
    StoreUnavailableError,
    TaskConfigurationError,
    TaskNotFoundError,
    TickworkError,
)
from tickwork.interfaces import OnDemand
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.events import RunCancelled
from tickwork.model.instants import from_us, to_us
from tickwork.model.policies import TERMINAL, RunState, Source
from tickwork.model.records import RunRecord
from tickwork.model.steps import CancelRequest, Edit, RunQuery
from tickwork.scheduler import planner
from tickwork.scheduler.awaiting import Awaited
from tickwork.scheduler.entering import SchedulerEntering
from tickwork.scheduler.facade import AsyncFacade
from tickwork.scheduler.following import after_run
from tickwork.scheduler.options import read_name, read_whole, read_word
from tickwork.scheduler.run import Run
from tickwork.scheduler.submitting import RunOptions, submitted
from tickwork.scheduler.task import Task

if TYPE_CHECKING:
    from datetime import datetime

    from tickwork.model.records import TaskRecord
    from tickwork.model.snapshots import RunInfo

__all__ = ["SchedulerRuns", "Submitter"]


class Submitter:
    """Submits functions with options; made by `Scheduler.options`."""

    def __init__(self, scheduler: SchedulerRuns, options: RunOptions) -> None:
        self._scheduler = scheduler
        self._options = options

    def __repr__(self) -> str:
        return f"<Submitter {self._options}>"

    @property
    def aio(self) -> AsyncFacade:
        """The same methods, awaitable."""
        return AsyncFacade(self)

    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Run:
        """Execute a function soon, in the background; see `Scheduler.submit`."""
        return self._scheduler._submit_run(fn, args, kwargs, self._options)  # noqa: SLF001  its other half


class SchedulerRuns(SchedulerEntering):
    """What a scheduler does with single runs."""

    # --- submitting ---------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Run:
        """Execute a function once, soon, in the background; return its run at once.

        `fn` is a callable or "module:qualname". In a store that outlives the process the run does,
        too, and any node that knows the function may execute it. The options of a decorated task
        apply, apart from its schedule; `options()` says others. Neither `max_instances` nor a pause
        of the task concern what is submitted.

        Raises:
            InvalidInputError: something of it could never work; the message says what to do.
            SchedulerStateError: the scheduler isn't connected to its stores yet.
        """
        return self._submit_run(fn, args, kwargs, RunOptions())

    def options(self, **options: Any) -> Submitter:
        """Return what submits functions with options: `scheduler.options(timeout=30).submit(f, 1)`.

        `name`, `tags`, `executor`, `store`, `start_in` (seconds) or `start_at`, and of those that
        tasks have `timeout`, `retries`, `delay`, `backoff`, `max_delay`, `retry_jitter`,
        `retry_on`, `give_up_on`, `priority`, `concurrency_key`, `concurrency_limit`, `delivery`,
        `result_ttl` and `keep`.

        Raises:
            TaskConfigurationError: there is no such option, or its value makes no sense.
        """
        return Submitter(self, RunOptions.read(self._declarer, options))

    def _submit_run(
        self,
        fn: Callable[..., Any] | str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: RunOptions,
    ) -> Run:
        if isinstance(fn, Task):
            raise TaskConfigurationError(
                f"{fn!r} is a task; run() executes it now, submit() takes a function"
            )
        with self._connected() as book:
            call = fn, args, kwargs
            made = submitted(self._declarer, book.decorated_functions, call, options)
            on_demand = self._on_demand(made.store)
            now_us = book.now_us(made.store)
            at_us = options.start_us
            start_us = now_us + options.wait_us if at_us is None else max(now_us, at_us)
            run = _own_run(made.task_id, made.definition, book.ids.at(now_us)(), now_us)
            run.due_us = run.available_us = start_us
            _submit(on_demand, run)
        self._look(made.store)
        return Run(self, run.id, made.task_id, made.store, name=made.definition.name)

    def _on_demand(self, store: str) -> OnDemand:
        found = self._stores[store]
        if not isinstance(found, OnDemand):
            raise SchedulerStateError(
                f"store {store!r} takes no runs without a task: it has no `submit`; add a task"
            )
        return found

    def _look(self, store: str) -> None:
        """Have the loop of a store look what there is to do."""
        if self._runtime is not None:
            self._runtime.loops[store].wake.set()

    # --- looking ------------------------------------------------------------------------------

    def get_run(self, run_id: str, *, store: str | None = None) -> RunInfo:
        """Return a run as it stands now.

        Raises:
            RunNotFoundError: there is no such run, or it was pruned.
        """
        from tickwork.model.snapshots import run_info

        with self._connected() as book:
            run, name = book.run(run_id, store)
        definition = self._book.definitions_of([(run, name)])[run.id]
        return run_info(self._seen(run, name), name, definition)

    def _seen(self, run: RunRecord, store: str) -> RunRecord:
        """Return a run as it stands: one that was just started here isn't written down yet."""
        if self._runtime is None or run.state is not RunState.PENDING:
            return run
        held = self._runtime.loops[store].holding.held.get(run.id)
        if held is None or not held.started_us or held.fence != run.fence:
            return run
        started_us = held.started_us + self._clocks[store].offset_us
        return replace(run, state=RunState.RUNNING, started_us=started_us)

    def get_runs(
        self,
        *,
        task: str | None = None,
        store: str | None = None,
        status: str | RunState | Iterable[str | RunState] | None = None,
        source: str | Source | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[RunInfo]:
        """Return runs, newest first; `since` and `until` are aware and mean their creation.

        Submitted runs have their task's id, or their function's name, as `task`.
        """
        from tickwork.model.snapshots import run_info

        query = RunQuery(
            task_id=task,
            states=_states(status),
            source=None if source is None else read_word("source", Source, source),
            since_us=None if since is None else _instant("since", since),
            until_us=None if until is None else _instant("until", until),
            limit=read_whole("limit", limit, 0),
            offset=read_whole("offset", offset, 0),
        )
        found = self._book.runs(self._named(store), query)
        definitions = self._book.definitions_of(found)
        return [run_info(self._seen(run, name), name, definitions[run.id]) for run, name in found]

    # --- cancelling and trying again ----------------------------------------------------------

    def cancel_run(
        self, run_id: str, *, reason: str = "cancelled", store: str | None = None
    ) -> bool:
        """Cancel a run, wherever it is; whether there was anything left to cancel.

        A pending run, also one that waits to be tried again, never starts. A running one is ended
        soon by its node: coroutines and processes really are, a thread can't be, its run is over
        then while it goes on.

        Raises:
            RunNotFoundError: there is no such run.
        """
        reason = read_name("reason", reason)
        with self._connected() as book:
            before, store = book.run(run_id, store)
            now_us = book.now_us(store)
            request = CancelRequest([run_id], reason, now_us, after_run)
            [run] = self._on_demand(store).cancel(request)
        if run is None or before.state in TERMINAL:
            return False
        if run.state is RunState.CANCELLED:
            self._awaited.ended(run_id)
            self._note_history(run, store)
            self._tell(
                RunCancelled,
                run_id=run_id,
                task_id=run.task_id,
                store=store,
                attempt=run.attempt,
                fire_time=None if run.fire_us is None else from_us(run.fire_us),
                reason=reason,
            )
        elif run.state not in TERMINAL and self._runtime is not None:
            self._runtime.loops[store].end_run(run_id, reason)
        self._look(store)
        return run.state is RunState.CANCELLED or run.state not in TERMINAL

    def _note_history(self, run: RunRecord, store: str) -> None:
        if self._runtime is not None:
            definition = self._book.definitions_of([(run, store)])[run.id]
            keep = definition.max_history if isinstance(definition, Definition) else None
            self._runtime.loops[store].note_history(run.task_id, keep)

    def retry_run(self, run_id: str, *, store: str | None = None) -> Run:
        """Execute again what a run was for that is over; the new run says whose retry it is.

        Raises:
            RunNotFoundError: there is no such run.
            ConflictError: it isn't over yet.
            TaskNotFoundError: it was a run of a task that is gone.
        """
        with self._connected() as book:
            run, store = book.run(run_id, store)
            if run.state not in TERMINAL:
                raise ConflictError(
                    f"run {run_id!r} is {run.state}; cancel it, or wait for its end"
                )
            now_us = book.now_us(store)
            if run.definition is None:
                new_id = self._retry_task_run(run, store, now_us)
            elif isinstance(run.definition, Unreadable):
                raise ConflictError(f"run {run_id!r} can't be understood: {run.definition.reason}")
            else:
                new = _own_run(run.task_id, run.definition, book.ids.at(now_us)(), now_us)
                _submit(self._on_demand(store), replace(new, retry_of=run_id))
                new_id = new.id
            name = self._name_of(run, store)
        self._look(store)
        return Run(self, new_id, run.task_id, store, name=name)

    def _name_of(self, run: RunRecord, store: str) -> str:
        definition = self._book.definitions_of([(run, store)])[run.id]
        return definition.name if isinstance(definition, Definition) else run.task_id

    def _retry_task_run(self, run: RunRecord, store: str, now_us: int) -> str:
        def decide(task: TaskRecord) -> Edit:
            if task.generation != run.generation:
                return Edit(task, unchanged=True)
            planner.definition_of(task)
            return Edit(task, (planner.manual_run(now_us, retry_of=run.id),))

        [edited] = self._stores[store].edit([run.task_id], decide, self._book.ids.at(now_us))
        if edited.task is None or not edited.runs:
            raise TaskNotFoundError(
                f"run {run.id!r} was one of the task {run.task_id!r}, which is gone"
            )
        return edited.runs[0].id

    # --- waiting ------------------------------------------------------------------------------

    def _is_over(self, run_id: str, store: str) -> bool:
        """Whether a run is over or forgotten; asked by those who wait for it."""
        try:
            return self._book.connected and self._book.run(run_id, store)[0].state in TERMINAL
        except RunNotFoundError:
            # Or not any more: it may have been closed in the middle of the question.
            return self._book.connected
        except TickworkError:
            return False

    @contextmanager
    def _awaiting(self, run: Run, tell: Callable[[], None]) -> Iterator[None]:
        with self._connected():
            self._awaited.add(run.id, tell, store=run.store, sleeps=True)
        try:
            yield
        finally:
            self._awaited.remove(run.id, tell)

    def _let_work(self) -> None:
        """Do what there is to do, where nobody else does."""

    def _call_when_over(self, run: Run, callback: Callable[[Run], object]) -> None:
        if not callable(callback):
            raise InvalidInputError(f"{callback!r} can't be called; pass a function")
        with self._connected():
            self._awaited.add(run.id, lambda: self._listeners.call(callback, run), store=run.store)
        if self._is_over(run.id, run.store):
            self._awaited.ended(run.id)

    def _new_awaited(self) -> Awaited:
        return Awaited(self._is_over)

    @abstractmethod
    def _named(self, store: str | None) -> list[str]:
        """Return the stores that are meant: the one that is named, or all."""


def _submit(store: OnDemand, run: RunRecord) -> None:
    """Submit a run; once more if nobody knows whether that took effect, which adds nothing new."""
    try:
        store.submit([run])
    except StoreUnavailableError:
        store.submit([run])


def _own_run(task_id: str, definition: Definition, run_id: str, now_us: int) -> RunRecord:
    """Return a pending run that has a definition of its own."""
    keyed = definition.concurrency_key is not None
    return RunRecord(
        id=run_id,
        task_id=task_id,
        generation=0,
        state=RunState.PENDING,
        source=Source.MANUAL,
        due_us=now_us,
        function=definition.function,
        executor=definition.executor,
        available_us=now_us,
        created_us=now_us,
        definition=definition,
        rank=-definition.priority,
        key=definition.concurrency_key,
        key_limit=definition.concurrency_limit if keyed else 0,
    )


def _states(status: Any) -> frozenset[RunState] | None:
    if status is None:
        return None
    words = [status] if isinstance(status, str) else list(status)
    return frozenset(read_word("status", RunState, word) for word in words)


def _instant(name: str, moment: datetime) -> int:
    if moment.tzinfo is None:
        raise InvalidInputError(f"{name}={moment!r} is naive; give an aware datetime")
    return to_us(moment)
