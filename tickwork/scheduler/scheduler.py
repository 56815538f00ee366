"""The scheduler, as applications see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import WeakMethod

from tickwork.coordination import FileLockProtected, LeaderElection
from tickwork.errors import ConflictingTaskError, InvalidInputError
from tickwork.model.events import TaskRemoved
from tickwork.scheduler.asgi import ASGIApp, WithScheduler
from tickwork.scheduler.lifecycle import (
    Lifecycle,
    SharedLock,
    check_lifecycle,
    lifecycle_options,
)
from tickwork.scheduler.router import (
    RoutedTask,
    TaskRouter,
    check_lock,
    check_router,
    include,
    refuse_namesakes,
)
from tickwork.scheduler.spelling import read_options, read_spelling
from tickwork.scheduler.tasks import SchedulerTasks
from tickwork.wiring import build_trigger

if TYPE_CHECKING:
    from tickwork.interfaces import Trigger
    from tickwork.scheduler.declaring import Declared

__all__ = ["AsyncIOScheduler", "Scheduler"]

F = TypeVar("F", bound=Callable[..., Any])


class Scheduler(SchedulerTasks):
    """Calls functions on time, from definitions that a store keeps.

    `Scheduler(store_or_url)`, or `Scheduler(stores={"default": ..., ...})` for several; without
    either, tasks live in memory. `executors` adds to (or replaces) `asyncio`, `threadpool` and
    `processpool`; `task_defaults` are options of all tasks that don't say otherwise; naive times
    are read in `timezone`. With `lock_path`, of all processes that name the same file (`{store}`,
    `{pgrp}` and `{ppid}` may stand in it) one fires what is in memory, and the others stand by.
    """

    # --- routers ------------------------------------------------------------------------------

    def include_router(self, router: TaskRouter) -> None:
        """Add what is, or will be, declared on a router: all of it or, where that fails, nothing.

        Raises:
            TaskConfigurationError: it is included already, or two tasks have the same name.
            ConflictingTaskError: the scheduler has another task of the same id.
        """
        check_router(router, self._routers)
        include(self, list(router.routed()))
        self._routers.append(router)
        router.part_of(self)

    def _climb(self, task: RoutedTask) -> Iterator[tuple[Scheduler, RoutedTask]]:
        yield self, task

    def _check(self, tasks: Sequence[RoutedTask]) -> None:
        refuse_namesakes(self._routed, tasks)
        for declared, _ in map(self._declared, tasks):
            for each in declared:
                if (each.store, each.id) in self._book.pending and not each.replaces:
                    raise ConflictingTaskError(
                        f"the scheduler has a task {each.id!r} already; give one of them another "
                        "id=, or its router a prefix"
                    )

    def _have(self, tasks: Sequence[RoutedTask]) -> None:
        declared = [self._declared(task) for task in tasks]
        self._add([each for parts, _ in declared for each in parts])
        self._routed.update(name for task in tasks for name in task.names)
        for _, made in declared:
            if made is not None:
                self._live(made)

    def _declared(self, task: RoutedTask) -> tuple[list[Declared], Lifecycle | None]:
        if task.way == "lifecycle" and callable(task.function):
            return self._lifecycle(task.function, task)
        trigger, own, inherited = task.spelled()
        options = {**inherited, **own}
        decorated = task.way == "task"
        return [self._declare(task.function, trigger, options, decorated=decorated)], None

    # --- lifecycles ---------------------------------------------------------------------------

    def lifecycle(
        self,
        trigger: Trigger | str | None = None,
        *,
        leader: LeaderElection | None = None,
        lock: FileLockProtected | None = None,
        **options: Any,
    ) -> Callable[[F], F]:
        """Return a decorator for a generator function (plain or async) without parameters.

        What stands before its first `yield` sets up when the scheduler starts; each fire time
        sends it True, and when the scheduler stops it is sent False, and cleans up. One that raised
        or returned is at its end; it is set up anew at the next fire time. With a `leader` or a
        `lock`, of all processes one at most is set up: the leader, or who has the file. Other
        options are those of `add_task`.

        Raises:
            TaskConfigurationError: it is no generator function, or when is said in no way.
        """
        check_lock(lock)
        if leader is not None:
            options["leader"] = leader
        _, arguments = read_options(options)
        read_spelling(trigger, arguments)

        def decorate(function: F) -> F:
            check_lifecycle(function)
            task = RoutedTask("lifecycle", function, trigger, dict(options), lock)
            declared, made = self._lifecycle(function, task)
            self._add(declared)
            self._live(made)
            return function

        return decorate

    def _lifecycle(
        self, function: Callable[..., Any], task: RoutedTask
    ) -> tuple[list[Declared], Lifecycle]:
        """Return the two tasks of a lifecycle, and itself."""
        trigger, own, inherited = task.spelled()
        options = lifecycle_options(own, inherited)
        name = str(options.get("id") or options.get("name") or task.plain_name)
        lock, shared = task.lock, None
        if isinstance(lock, FileLockProtected):
            shared = self._shared_locks.setdefault(lock, SharedLock(lock))
        made = Lifecycle(function, name, leader=options.pop("leader", None), lock=shared)
        usual = [inherited.get("executor"), self._declarer.defaults.get("executor"), "default"]
        made.choose_executor(own.get("executor"), usual, self._declarer.executors)
        ticking = {"id": name, "name": name, **options}
        ending = {"id": f"{name}:clean-up", "name": f"{name}:clean-up"}
        ending |= {each: options[each] for each in ("replace_existing", "tags") if each in options}
        place = {"scope": "node", "executor": made.executor}
        shutdown = build_trigger("shutdown", {})
        return [
            self._declare(made.tick, trigger, {**ticking, **place}),
            self._declare(made.clean_up, shutdown, {**ending, **place}),
        ], made

    def _live(self, made: Lifecycle) -> None:
        """Have a lifecycle be kept, in the place of one of the same name."""
        former = self._lifecycles.get(made.name)
        self._lifecycles[made.name] = made
        if former is not None:
            former.removed = True
            self._keep_lifecycle(former)
        if made.leader is not None:
            self.elect(made.leader)
            # Whoever leads no more must not stay set up until the next fire time.
            changed = WeakMethod(self._lead_changed)
            made.leader.listen(lambda leads: _call(changed, made, leads))
        if self._runtime is not None:
            made.begin()
            self._keep_lifecycle(made)

    def _lead_changed(self, made: Lifecycle, leads: bool) -> None:  # noqa: FBT001  as it is told
        if not (made.stopped or made.removed):
            self._keep_lifecycle(made, at_once=not leads)

    def _keep_lifecycle(self, made: Lifecycle, *, at_once: bool = False) -> None:
        """Have a lifecycle set up, or end, as is in order now; `at_once` also while paused."""
        runtime = self._runtime
        if runtime is not None:
            options = self.options(
                store="local", name=f"{made.name}:set-up", executor=made.executor
            )
            made.run_id = options.submit(made.keep).id
            if at_once:
                runtime.loops["local"].execute_only([made.run_id])

    def _starting(self) -> None:
        tasks = self._book.reader("local")
        for name, made in list(self._lifecycles.items()):
            if made.removed or tasks.get_task(name) is None:
                del self._lifecycles[name]
            else:
                made.begin()

    def _started(self) -> None:
        for made in list(self._lifecycles.values()):
            self._keep_lifecycle(made)

    def _stopping(self) -> None:
        for made in list(self._lifecycles.values()):
            made.stop()

    def _stopped(self) -> None:
        for made in list(self._lifecycles.values()):
            made.end()
        keeping = [made.run_id for made in list(self._lifecycles.values())]
        self._cancel_unstarted({"local": keeping})

    def _changed(self, kind: type[Any], store: str, task_id: str) -> None:
        super()._changed(kind, store, task_id)
        made = self._lifecycles.get(task_id) if store == "local" else None
        if made is not None and kind is TaskRemoved:
            made.removed = True
            self._keep_lifecycle(made, at_once=True)
            self._book.remove("local", [f"{task_id}:clean-up"])

    # --- web applications ---------------------------------------------------------------------

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Be started for as long as a web application lives.

        `FastAPI(lifespan=scheduler.lifespan)`, and so in Starlette and Litestar; several at a time
        are counted. The application's `state`, where it has one, knows the scheduler as `tickwork`.
        """
        self._make_known(app)
        async with self:
            yield

    @overload
    def asgi(self, app: ASGIApp) -> WithScheduler: ...

    @overload
    def asgi(self, app: None = None) -> Callable[[ASGIApp], WithScheduler]: ...

    def asgi(self, app: ASGIApp | None = None) -> Any:
        """Return an ASGI application with this scheduler around it; without one, a decorator.

        The scheduler starts after the application's own start-up and stops before its shutdown.
        """
        if app is None:
            return self.asgi
        self._make_known(app)
        return WithScheduler(app, self)

    def dashboard(self, **settings: Any) -> ASGIApp:
        """Return the service over this scheduler, as an application to mount under any prefix.

        It doesn't start the scheduler. `settings` are those of `tickwork serve`; what they leave
        out is taken from the environment and from `tickwork.toml`.

        Raises:
            InvalidInputError: a setting makes no sense, or the extra `service` isn't installed.
        """
        try:
            # By its name: the service stands above the scheduler, and is an extra.
            create_app = import_module("tickwork.service.app").create_app
        except ModuleNotFoundError as error:
            raise InvalidInputError(
                f"the service needs the package {error.name!r}: pip install 'tickwork[service]'"
            ) from error
        said = import_module("tickwork.service.settings").read_settings(**settings)
        app: ASGIApp = create_app(self, said)
        return app

    def _make_known(self, app: object) -> None:
        state = getattr(app, "state", None)
        if state is not None:
            with suppress(AttributeError, TypeError):
                state.tickwork = self


class AsyncIOScheduler(Scheduler):
    """The scheduler under the name that this field's users know; it is the same in all."""


def _call(method: WeakMethod[Callable[..., None]], *args: object) -> None:
    """Call a method of what may be gone."""
    found = method()
    if found is not None:
        found(*args)
