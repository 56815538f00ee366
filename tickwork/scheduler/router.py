"""Tasks that are declared apart from any scheduler, for applications of several modules.

A router carries a prefix, tags and defaults for what is declared on it, and may be part of another
router. What is declared after it was included, is included too: in all that it is part of or, where
one of them refuses it, nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import ReferenceType, ref

from tickwork.coordination import FileLockProtected
from tickwork.errors import TaskConfigurationError
from tickwork.interfaces import Zoned
from tickwork.model.callables import name_of
from tickwork.model.instants import from_us, read_seconds
from tickwork.model.policies import Scope
from tickwork.scheduler.declaring import OPTIONS, read_tags
from tickwork.scheduler.gates import GATES, check_seconds, read_gate
from tickwork.scheduler.lifecycle import check_lifecycle
from tickwork.scheduler.options import POLICIES, read_changes, read_flag, read_name, read_word
from tickwork.scheduler.spelling import read_options, read_spelling
from tickwork.scheduler.task import Task
from tickwork.wiring import build_trigger, every, read_zone

if TYPE_CHECKING:
    from tickwork.interfaces import Trigger

__all__ = ["RoutedTask", "TaskRouter", "include"]

F = TypeVar("F", bound=Callable[..., Any])

_OF_ONE = frozenset({"args", "kwargs", "id", "name", "next_run_time", "replace_existing", "tags"})
_DEFAULTS = OPTIONS - _OF_ONE
_WAYS = frozenset({"every", "interval", "cron", "at"})
_LONG_AGO_US = -(10**17)


@dataclass(frozen=True, slots=True)
class RoutedTask:
    """A declaration: what `Scheduler.task`, `add_task` or `lifecycle` would be called with.

    `options` are its own, with prefix and tags; `defaults` and `zone` are those of the routers
    around it. One that is `named` was given a name by its user; `lock` is a lifecycle's.
    """

    way: str
    function: Callable[..., Any] | str
    trigger: Trigger | str | None
    options: Mapping[str, Any]
    lock: object = None
    named: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    zone: tzinfo | None = None

    @property
    def names(self) -> list[str]:
        """What no other task of the same router or scheduler may be called."""
        said = self.options.get("id") or self.options.get("name") or self._reference()
        names = [str(said), *([str(self.options["name"])] if self.named else [])]
        return list(dict.fromkeys(names))

    @property
    def plain_name(self) -> str:
        """The name of its function."""
        function = self.function
        return function.rpartition(":")[2] if isinstance(function, str) else name_of(function)

    def _reference(self) -> str:
        if isinstance(self.function, str):
            return self.function
        if self.way == "lifecycle":
            return self.plain_name
        return f"{self.function.__module__}:{self.plain_name}"

    def spelled(self) -> tuple[Trigger, dict[str, Any], dict[str, Any]]:
        """Return its trigger, its own options, and the defaults that aren't overridden.

        Naive times are read in the time zone of its routers.

        Raises:
            InvalidInputError: something of it could never work.
        """
        own, arguments = read_options(self.options)
        if GATES & {**self.defaults, **own}.keys():
            check_seconds(arguments)
        unsaid = self.trigger is None and not _WAYS & arguments.keys()
        once = unsaid and self.way == "add_task"
        trigger = read_spelling("date" if once else self.trigger, arguments)
        inherited = {name: self.defaults[name] for name in self.defaults.keys() - own.keys()}
        if getattr(trigger, "jitter", None) is not None:
            # The trigger's is the task's own.
            inherited.pop("jitter", None)
        if self.zone is None:
            return trigger, own, inherited
        if own.get("next_run_time") is not None:
            own["next_run_time"] = _read_in(self.zone, own["next_run_time"])
        if isinstance(trigger, Zoned):
            trigger = trigger.in_timezone(self.zone)
        return trigger, own, inherited


def _read_in(zone: tzinfo, moment: object) -> object:
    """Return a moment; where it is naive, the one that it is in a time zone."""
    once = build_trigger("date", {"run_at": moment})
    placed: Any = once.in_timezone(zone) if isinstance(once, Zoned) else once
    return from_us(placed.next_us(_LONG_AGO_US))


class _Holder(Protocol):
    """A router or a scheduler, as what is included in it sees it."""

    def _climb(self, task: RoutedTask) -> Iterator[tuple[_Holder, RoutedTask]]:
        """Yield itself and all that it is part of, each with the task as it is there."""

    def _check(self, tasks: Sequence[RoutedTask]) -> None:
        """Raise if it can't have these tasks."""

    def _have(self, tasks: Sequence[RoutedTask]) -> None:
        """Have these tasks from now on."""


def include(holder: _Holder, tasks: Sequence[RoutedTask]) -> None:
    """Add tasks to a router or scheduler and all that it is part of; everywhere or nowhere.

    Raises:
        TickworkError: one of them refused one of the tasks.
    """
    added: dict[_Holder, list[RoutedTask]] = {}
    for task in tasks:
        for each, routed in holder._climb(task):  # noqa: SLF001  its other half
            added.setdefault(each, []).append(routed)
    for each, routed_tasks in added.items():
        each._check(routed_tasks)  # noqa: SLF001  its other half
    # Schedulers first: of what they do, not everything can be checked before.
    for each, routed_tasks in reversed(added.items()):
        each._have(routed_tasks)  # noqa: SLF001  its other half


class TaskRouter:
    """The decorators of a scheduler, without one; `scheduler.include_router(router)` adds them.

    `prefix` is put before ids and names (a task without either gets that of its function), `tags`
    are added to those of each task, naive times are read in `timezone`, and `defaults` are options
    of all tasks that don't say otherwise: those of the task win, then those of its router, then of
    the routers around it, then the scheduler's.

    Raises:
        TaskConfigurationError: an option that can't be a default, or has no such value.
    """

    def __init__(
        self,
        prefix: str = "",
        *,
        tags: Any = (),
        timezone: str | tzinfo | None = None,
        **defaults: Any,
    ) -> None:
        if not isinstance(prefix, str):
            raise TaskConfigurationError(f"prefix={prefix!r} must be a text, such as 'billing.'")
        self.prefix = prefix
        self.tags = read_tags(tags)
        self.timezone = None if timezone is None else read_zone(timezone)
        self.defaults = _read_defaults(defaults)
        self._own: list[RoutedTask] = []
        self._parts: list[TaskRouter] = []
        self._holders: list[ReferenceType[_Holder]] = []
        self._names: set[str] = set()

    def __repr__(self) -> str:
        return f"<TaskRouter {self.prefix!r}, {sum(1 for _ in self.routed())} tasks>"

    # --- declaring ----------------------------------------------------------------------------

    def task(self, trigger: Trigger | str | None = None, **options: Any) -> Callable[[F], F]:
        """Return a decorator; see `Scheduler.task`."""
        return self._decorator("task", trigger, options)

    def lifecycle(
        self,
        trigger: Trigger | str | None = None,
        *,
        lock: FileLockProtected | None = None,
        **options: Any,
    ) -> Callable[[F], F]:
        """Return a decorator for generator functions; see `Scheduler.lifecycle`."""
        check_lock(lock)
        return self._decorator("lifecycle", trigger, options, lock)

    def add_task(
        self,
        fn: Callable[..., Any] | str,
        trigger: Trigger | str | None = None,
        **options: Any,
    ) -> None:
        """Declare a task; see `Scheduler.add_task`."""
        if isinstance(fn, Task) or not (isinstance(fn, str) or callable(fn)):
            raise TaskConfigurationError(
                f"{fn!r} is no function; pass a function, or its name as 'module:function'"
            )
        self._add(RoutedTask("add_task", fn, trigger, _copied(options)))

    def _decorator(
        self,
        way: str,
        trigger: Trigger | str | None,
        options: Mapping[str, Any],
        lock: object = None,
    ) -> Callable[[F], F]:
        said = RoutedTask(way, "", trigger, options, lock, defaults=self.defaults)
        said.spelled()

        def decorate(function: F) -> F:
            if not callable(function):
                raise TaskConfigurationError(
                    f"{function!r} can't be decorated; use add_task for names of functions"
                )
            if way == "lifecycle":
                check_lifecycle(function)
            self._add(replace(said, function=function, options=_copied(options), defaults={}))
            return function

        return decorate

    def _add(self, task: RoutedTask) -> None:
        task = replace(task, named="name" in task.options)
        trigger, own, inherited = self._routed(task).spelled()
        _check_options({**inherited, **own})
        if task.way != "lifecycle":
            read_gate({**inherited, **own}, trigger)
        include(self, [task])
        self._own.append(task)

    # --- including ----------------------------------------------------------------------------

    def include_router(self, router: TaskRouter) -> None:
        """Add what is, or will be, declared on another router.

        Raises:
            TaskConfigurationError: it is this one, includes this one, is included already, or has
                a task of a name that is taken.
        """
        check_router(router, self._parts)
        if router is self or self in router.parts():
            raise TaskConfigurationError(f"{router!r} can't be included in itself")
        include(self, list(router.routed()))
        self._parts.append(router)
        router.part_of(self)

    def part_of(self, holder: _Holder) -> None:
        """Tell a router or scheduler of what will be declared here from now on."""
        self._holders.append(ref(holder))

    def parts(self) -> Iterator[TaskRouter]:
        """Yield the routers that are included, at whatever depth."""
        for part in self._parts:
            yield part
            yield from part.parts()

    def routed(self) -> Iterator[RoutedTask]:
        """Yield all that is declared, with prefix, tags and defaults."""
        for task in self._own:
            yield self._routed(task)
        for part in self._parts:
            for task in part.routed():
                yield self._routed(task)

    def _climb(self, task: RoutedTask) -> Iterator[tuple[_Holder, RoutedTask]]:
        routed = self._routed(task)
        yield self, routed
        for reference in self._holders:
            holder = reference()
            if holder is not None:
                yield from holder._climb(routed)  # noqa: SLF001  its other half

    def _check(self, tasks: Sequence[RoutedTask]) -> None:
        refuse_namesakes(self._names, tasks)

    def _have(self, tasks: Sequence[RoutedTask]) -> None:
        self._names.update(name for task in tasks for name in task.names)

    def _routed(self, task: RoutedTask) -> RoutedTask:
        options = dict(task.options)
        if self.tags or "tags" in options:
            options["tags"] = [*self.tags, *read_tags(options.get("tags", ()))]
        if self.prefix:
            name = options.get("name") or task.plain_name
            options["id"] = f"{self.prefix}{options.get('id') or name}"
            options["name"] = f"{self.prefix}{name}"
        defaults = {**self.defaults, **task.defaults}
        return replace(task, options=options, defaults=defaults, zone=task.zone or self.timezone)


def check_router(router: object, included: Sequence[TaskRouter]) -> None:
    """Refuse what can't be included.

    Raises:
        TaskConfigurationError: it is no router, or included already.
    """
    if not isinstance(router, TaskRouter):
        raise TaskConfigurationError(f"{router!r} is no TaskRouter; make one, and pass it")
    if router in included:
        raise TaskConfigurationError(f"{router!r} is included already")


def refuse_namesakes(taken: set[str], tasks: Sequence[RoutedTask]) -> None:
    """Refuse tasks whose names are taken, by others or by one of them.

    Raises:
        TaskConfigurationError: there are two of one name; give one of them another name or prefix.
    """
    seen: set[str] = set()
    for name in (name for task in tasks for name in task.names):
        if name in seen or name in taken:
            raise TaskConfigurationError(
                f"there are two tasks of the name {name!r}; give one of them another name=, id= or "
                "its router a prefix"
            )
        seen.add(name)


def check_lock(lock: object) -> None:
    """Refuse what can't be the lock of a lifecycle.

    Raises:
        TaskConfigurationError: it is no lock on a file.
    """
    if lock is not None and not isinstance(lock, FileLockProtected):
        raise TaskConfigurationError(
            f"lock={lock!r} is no FileLockProtected; make one of a path, and pass it"
        )


def _copied(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that stay what they are when somebody changes his lists."""
    lists = {name: copy(options[name]) for name in ("args", "kwargs", "tags") if name in options}
    return {**options, **lists}


def _read_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    defaults, unknown = read_options(given)
    for name in [*unknown, *sorted(_OF_ONE & defaults.keys())]:
        known = ", ".join(sorted(_DEFAULTS | {"tags", "timezone"}))
        raise TaskConfigurationError(f"{name!r} can't be a default of a router; these can: {known}")
    _check_options(defaults)
    _check_gate({name: defaults[name] for name in GATES & defaults.keys()})
    return defaults


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse values that could never work."""
    read_changes({name: options[name] for name in POLICIES & options.keys()})
    for name in ("executor", "store"):
        if options.get(name) is not None:
            read_name(name, options[name])
    if options.get("scope") is not None:
        read_word("scope", Scope, options["scope"])
    if "paused" in options:
        read_flag("paused", options["paused"])


def _check_gate(given: Mapping[str, Any]) -> None:
    """Refuse what could be right for no trigger."""
    spans = {
        name: read_seconds(name, value)
        for name, value in given.items()
        if name.endswith("_seconds") and value is not None
    }
    if len(spans) > 1 and spans["min_lock_seconds"] > spans["max_lock_seconds"]:
        raise TaskConfigurationError(
            "min_lock_seconds must be less than or equal to max_lock_seconds"
        )
    read_gate({name: given[name] for name in given.keys() - spans.keys()}, every(1, {}))
