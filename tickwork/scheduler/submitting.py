"""From a call that is to happen once, in the background, to the definition of its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from tickwork.errors import TaskConfigurationError
from tickwork.model.definition import Definition
from tickwork.model.functions import check_signature
from tickwork.model.values import encode_arguments
from tickwork.scheduler.declaring import named_executor, read_tags
from tickwork.scheduler.options import (
    RUN_POLICIES,
    read_changes,
    read_duration,
    read_name,
    rendered_key,
)
from tickwork.wiring import build_trigger

if TYPE_CHECKING:
    from tickwork.interfaces import Trigger
    from tickwork.scheduler.declaring import Declared, Declarer

__all__ = ["RunOptions", "Submission", "submitted"]

_OPTIONS = RUN_POLICIES | {"name", "tags", "executor", "store", "start_in", "start_at"}
_OF_SCHEDULES: dict[str, Any] = {"decorated": False, "disposable": False, "run_on_startup": False}


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What was said about runs: `changes` are fields of definitions."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    store: str | None = None
    wait_us: int = 0
    start_us: int | None = None

    @classmethod
    def read(cls, declarer: Declarer, options: Mapping[str, Any]) -> RunOptions:
        """Return options as they were said, each checked."""
        for name in options:
            if name not in _OPTIONS:
                known = ", ".join(sorted(_OPTIONS))
                raise TaskConfigurationError(f"runs have no option {name!r}; they have {known}")
        if "start_in" in options and "start_at" in options:
            raise TaskConfigurationError("say start_in or start_at, not both")
        changes = read_changes({name: options[name] for name in RUN_POLICIES & options.keys()})
        if "name" in options:
            changes["name"] = read_name("name", options["name"])
        if "tags" in options:
            changes["tags"] = read_tags(options["tags"])
        if "executor" in options:
            changes["executor"] = named_executor(options["executor"], declarer.executors)
        store = options.get("store")
        if store is not None and store not in declarer.stores:
            raise TaskConfigurationError(
                f"there is no store {store!r}; this scheduler has "
                f"{', '.join(sorted(declarer.stores))}"
            )
        wait_us = read_duration("start_in", options.get("start_in", 0))
        return cls(changes, store, wait_us, declarer.instant(options.get("start_at")))


@dataclass(frozen=True, slots=True)
class Submission:
    """A run to be made."""

    task_id: str
    store: str
    definition: Definition


def submitted(
    declarer: Declarer,
    decorated: Mapping[str, Declared],
    call: tuple[Callable[..., Any] | str, tuple[Any, ...], Mapping[str, Any]],
    options: RunOptions,
) -> Submission:
    """Return the run of a call: a function and its arguments.

    `decorated` are the declarations of decorated functions by their names; what they say of runs
    holds for those that are submitted, too.
    """
    function, args, kwargs = call
    target, first, more = declarer.callable_of(function)
    args, kwargs = (*first, *args), {**more, **kwargs}
    check_signature(target, args, kwargs)
    store = options.store or declarer.defaults.get("store") or "default"
    known = declarer.known_reference(function, target)
    declared = decorated.get(known) if known is not None else None
    if declared is not None:
        store = options.store or declared.store
    reference, local = declarer.reference_of(function, target, store)
    base = declarer.plain(reference, target) if declared is None else declared.definition
    definition = replace(base, **{**_OF_SCHEDULES, "trigger": _once(), **options.changes})
    definition = replace(
        definition,
        payload=encode_arguments(args, kwargs, target) if args or kwargs else "",
        concurrency_key=rendered_key(definition.key_template, target, args, kwargs),
        target=target if local else None,
    )
    declarer.refuse_hopeless(target, definition.executor, local=local)
    task_id = declared.id if declared is not None else reference
    return Submission(task_id, store, definition)


@cache
def _once() -> Trigger:
    return build_trigger("date", {})
