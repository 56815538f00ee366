"""From what a user says about a task to its definition: everything that can be refused, is here.

What could never work must not get into a store, where it would fail in the middle of a night; so
each option is checked with a message that says what to do instead.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import lru_cache, partial
from typing import Any, cast

from tickwork.errors import InvalidInputError, InvalidReferenceError, TaskConfigurationError
from tickwork.interfaces import Trigger, Zoned
from tickwork.model.definition import Definition
from tickwork.model.functions import (
    check_signature,
    is_coroutine_callable,
    is_generator_callable,
    name_of,
    reference_of,
    resolve,
    unwrapped_partial,
)
from tickwork.model.policies import Scope
from tickwork.model.records import copier_of
from tickwork.model.signatures import PerFunction
from tickwork.model.values import encode_arguments
from tickwork.scheduler.gates import GATES, Gate, in_step, read_gate
from tickwork.scheduler.options import (
    POLICIES,
    RUN_POLICIES,
    read_changes,
    read_flag,
    read_name,
    read_word,
    rendered_key,
)
from tickwork.scheduler.registry import FunctionRegistry
from tickwork.wiring import build_trigger

__all__ = [
    "OPTIONS",
    "Declared",
    "Declarer",
    "alike",
    "checked_defaults",
    "named_executor",
    "read_args",
    "read_kwargs",
    "read_tags",
]

_runs_on_loop = PerFunction(is_coroutine_callable)
_generates = PerFunction(is_generator_callable)

_LONGEST_ID = 191

OPTIONS = (
    POLICIES
    | GATES
    | {
        "args",
        "kwargs",
        "id",
        "name",
        "executor",
        "store",
        "scope",
        "next_run_time",
        "replace_existing",
        "paused",
        "tags",
    }
)
"""All that can be said about a task besides its function and its trigger."""


@dataclass(slots=True, kw_only=True)
class Declared:
    """A task as a user declared it: not stored yet, its trigger not anchored yet.

    It `updates` one that was stored by an earlier process, and `replaces` one that was declared
    before in this process. `unnamed` ones have their function's name as id. `original` is what was
    declared, where it has been edited since.
    """

    id: str
    store: str
    definition: Definition
    first_us: int | None = None
    paused: bool = False
    updates: bool = False
    replaces: bool = False
    unnamed: bool = False
    original: Definition | None = None


_copied = copier_of(Declared)


@dataclass(slots=True)
class Declarer:
    """Turns what users say into definitions, with the defaults of one scheduler.

    `stores` says of each store by name whether its tasks outlive the process, `executors` of each
    executor of which kind it is. `new_id` makes ids for tasks that have none.
    """

    registry: FunctionRegistry
    zone: tzinfo
    stores: Mapping[str, bool]
    executors: Mapping[str, str]
    new_id: Callable[[], str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    _references: dict[Callable[..., Any], str] = field(default_factory=dict)
    _latest: Definition | None = None

    def declare(
        self,
        function: Callable[..., Any] | str,
        trigger: Trigger,
        options: Mapping[str, Any],
        *,
        decorated: bool = False,
    ) -> Declared:
        """Return the declaration of a task; touches no store."""
        given = {**self.defaults, **options}
        trigger, jitter = self.settled(trigger)
        if jitter is not None and "jitter" not in options:
            given["jitter"] = jitter
        gate = read_gate(given, trigger)
        store, scope = self._place(given, gate)
        target, args, kwargs = self.callable_of(function)
        args = (*args, *read_args("args", given.get("args", ())))
        kwargs = {**kwargs, **read_kwargs("kwargs", given.get("kwargs") or {})}
        check_signature(target, args, kwargs)
        policies = read_changes({name: given[name] for name in given if name in POLICIES})
        if gate is not None and not policies.get("fixed_delay"):
            trigger = in_step(trigger)
        key = rendered_key(policies.get("key_template"), target, args, kwargs)
        reference, local = self.reference_of(function, target, store, decorated=decorated)
        executor = self._executor(given.get("executor"), target)
        self.refuse_hopeless(target, executor, local=local)
        definition = Definition(
            function=reference,
            trigger=trigger,
            name=read_name("name", given.get("name") or name_of(target)),
            payload=encode_arguments(args, kwargs, target) if args or kwargs else "",
            executor=executor,
            scope=scope,
            tags=read_tags(given.get("tags", ())),
            decorated=decorated,
            disposable=not decorated and _is_disposable(trigger, named="id" in given),
            target=target if local else None,
            gate=gate,
            concurrency_key=key,
            **policies,
        )
        # Many tasks are often declared alike; one definition for all of them is quicker to look at.
        if gate is None:
            if definition == self._latest and definition.target is self._latest.target:
                definition = self._latest
            self._latest = definition
        paused = read_flag("paused", given.get("paused", False))
        first_us = None
        if "next_run_time" in given:
            paused = paused or given["next_run_time"] is None
            first_us = self.instant(given["next_run_time"])
        replaces = read_flag("replace_existing", given.get("replace_existing", False))
        task_id, unnamed = self._id(given.get("id"), definition, store, decorated=decorated)
        return Declared(
            id=task_id,
            store=store,
            definition=definition,
            first_us=first_us,
            paused=paused,
            updates=decorated or replaces,
            replaces=replaces,
            unnamed=unnamed,
        )

    def settled(self, trigger: Trigger) -> tuple[Trigger, float | None]:
        """Return a trigger in its time zone, and the jitter that came with it."""
        jitter = getattr(trigger, "jitter", None)
        if _is_zoned(type(trigger)):
            trigger = cast("Zoned", trigger).in_timezone(self.zone)
        return trigger, jitter

    def instant(self, moment: object) -> int | None:
        """Return a moment that a user named, read in the scheduler's time zone where naive."""
        if moment is None:
            return None
        once, _ = self.settled(build_trigger("date", {"run_at": moment}))
        only_us: int | None = once.next_us(-(10**17))  # type: ignore[attr-defined]  # a DateTrigger
        return only_us

    def _place(self, given: Mapping[str, Any], gate: Gate | None) -> tuple[str, Scope]:
        usual = Scope.CLUSTER if gate is None else Scope.NODE
        scope = read_word("scope", Scope, given.get("scope") or usual)
        if gate is not None and scope is not Scope.NODE:
            raise TaskConfigurationError(
                "a task with a leader or locks ticks in every process, and they decide; its scope "
                "is 'node', leave scope= out"
            )
        store = given.get("store")
        if store is None:
            store = "local" if scope is Scope.NODE else "default"
        if store not in self.stores:
            raise TaskConfigurationError(
                f"there is no store {store!r}; this scheduler has {', '.join(sorted(self.stores))}"
            )
        if scope is Scope.NODE and self.stores[store]:
            raise TaskConfigurationError(
                f"a task of scope 'node' lives in this process, not in the store {store!r}; "
                "leave store= out"
            )
        return store, scope

    def callable_of(
        self, function: Callable[..., Any] | str
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Return the function itself, and the arguments that it brings along."""
        if isinstance(function, str):
            return resolve(function), (), {}
        if not callable(function):
            raise InvalidReferenceError(
                f"{function!r} can't be called; pass a function or its name as 'module:function'"
            )
        return unwrapped_partial(function) if isinstance(function, partial) else (function, (), {})

    def reference_of(
        self,
        given: Callable[..., Any] | str,
        target: Callable[..., Any],
        store: str,
        *,
        decorated: bool = False,
    ) -> tuple[str, bool]:
        """Return the name of a function, and whether only this process can know it."""
        if isinstance(given, str):
            self.registry.register(given, target)
            return given, False
        known = self._known(target)
        if known is not None:
            return known, False
        try:
            reference = reference_of(target, verify=not decorated)
        except InvalidReferenceError:
            if self.stores[store]:
                raise
            module = getattr(target, "__module__", None) or type(target).__module__
            return f"{module}:{name_of(target)}", True
        self.registry.register(reference, target)
        self._references[target] = reference
        return reference, False

    def plain(self, reference: str, target: Callable[..., Any]) -> Definition:
        """Return a definition for single runs of a function, with the scheduler's defaults."""
        given = self.defaults
        policies = read_changes({name: given[name] for name in RUN_POLICIES & given.keys()})
        return Definition(
            function=reference,
            trigger=build_trigger("date", {}),
            name=name_of(target),
            executor=self._executor(given.get("executor"), target),
            tags=read_tags(given.get("tags", ())),
            **policies,
        )

    def known_reference(
        self, given: Callable[..., Any] | str, target: Callable[..., Any]
    ) -> str | None:
        """Return the name of a function that was named before."""
        return given if isinstance(given, str) else self._known(target)

    def refuse_hopeless(self, target: Callable[..., Any], executor: str, *, local: bool) -> None:
        """Refuse a function that the executor could never execute."""
        if _generates(target):
            raise TaskConfigurationError(
                f"{name_of(target)} is a generator function: calling it executes nothing of it. "
                "Make the generator, advance it once, and pass its send as the function; or call "
                "it inside a function"
            )
        if local and self.executors[executor] == "processpool":
            raise TaskConfigurationError(
                f"{name_of(target)} can't be found by other processes, so the executor "
                f"{executor!r} can't run it; define it at the top of a module"
            )

    def _known(self, target: Callable[..., Any]) -> str | None:
        try:
            return self._references.get(target)
        except TypeError:
            return None

    def _executor(self, named: object, target: Callable[..., Any]) -> str:
        if named is None:
            if "default" in self.executors:
                return "default"
            named = "asyncio" if _runs_on_loop(target) else "threadpool"
        return named_executor(named, self.executors)

    def _id(
        self, given: object, definition: Definition, store: str, *, decorated: bool
    ) -> tuple[str, bool]:
        if given is not None:
            return _read_id(given), False
        recurring = definition.trigger.kind != "date"
        # By its id, processes know that a task with a gate is the same in all of them.
        if decorated or definition.gate is not None or (recurring and self.stores[store]):
            return definition.function, True
        return self.new_id(), False


def alike(declared: Declared, task_id: str) -> Declared:
    """Return the declaration of a task that is like another one with an id, but for that."""
    same = _copied(declared)
    same.id = _read_id(task_id)
    return same


def _read_id(given: object) -> str:
    task_id = read_name("id", given)
    if len(task_id) > _LONGEST_ID:
        raise TaskConfigurationError(
            f"id {task_id[:20]!r}... has {len(task_id)} characters; at most {_LONGEST_ID}"
        )
    return task_id


@lru_cache(maxsize=256)
def _is_zoned(kind: type) -> bool:
    # Looking a protocol's methods up takes longer than the rest of it all; a class keeps its own.
    return issubclass(kind, Zoned)


def _is_disposable(trigger: Trigger, *, named: bool) -> bool:
    """Whether a task that is finished may be forgotten: it can't be meant when declared again."""
    once_now = trigger.kind == "date" and getattr(trigger, "run_at", None) is None
    return once_now or (trigger.kind == "date" and not named)


def named_executor(name: object, executors: Collection[str]) -> str:
    """Return the name of an executor, if there is one of that name."""
    if not isinstance(name, str) or name not in executors:
        raise TaskConfigurationError(
            f"there is no executor {name!r}; this scheduler has {', '.join(sorted(executors))} "
            "(Scheduler(executors={...}) adds others)"
        )
    return name


def read_args(name: str, value: object) -> Sequence[Any]:
    """Return positional arguments."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TaskConfigurationError(f"{name}={value!r} is not a list; write {name}=[...]")
    return value


def read_kwargs(name: str, value: object) -> Mapping[str, Any]:
    """Return keyword arguments."""
    if not isinstance(value, Mapping):
        raise TaskConfigurationError(f"{name}={value!r} is not a dict; write {name}={{...}}")
    return value


def read_tags(value: object) -> tuple[str, ...]:
    """Return tags in the order given, each once."""
    if isinstance(value, str) or not isinstance(value, (Sequence, set, frozenset)):
        raise TaskConfigurationError(f"tags={value!r} is not a list of texts; write tags=[...]")
    tags = sorted(value) if isinstance(value, (set, frozenset)) else value
    return tuple(dict.fromkeys(read_name("tag", tag) for tag in tags))


def checked_defaults(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scheduler's `task_defaults`, if they make sense."""
    given = dict(defaults)
    if "mistrigger_grace_time" in given:
        given["misfire_grace_time"] = given.pop("mistrigger_grace_time")
    allowed = POLICIES | {"executor", "store", "tags"}
    for name in given:
        if name not in allowed:
            raise InvalidInputError(
                f"{name!r} can't be a default of all tasks; these can: {', '.join(sorted(allowed))}"
            )
    read_changes({name: value for name, value in given.items() if name in POLICIES})
    return given
