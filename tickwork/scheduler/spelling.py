"""The ways to say when, and what to change: from keyword arguments to a trigger and options."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tickwork.errors import TaskConfigurationError
from tickwork.interfaces import Trigger
from tickwork.model.definition import Definition
from tickwork.model.functions import check_signature
from tickwork.model.values import decode_arguments, encode_arguments
from tickwork.scheduler.declaring import (
    OPTIONS,
    Declared,
    Declarer,
    alike,
    named_executor,
    read_args,
    read_kwargs,
    read_tags,
)
from tickwork.scheduler.gates import in_step
from tickwork.scheduler.options import POLICIES, read_changes, read_name, rendered_key
from tickwork.wiring import build_trigger, crontab, every

__all__ = [
    "changed_definition",
    "declaring_alike",
    "read_options",
    "read_spelling",
    "remembering",
]

_CHANGEABLE = POLICIES | {"name", "args", "kwargs", "executor", "tags"}


def read_options(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a task, and what is left: the arguments of its trigger."""
    words = dict(given)
    if "mistrigger_grace_time" in words:
        if "misfire_grace_time" in words:
            raise TaskConfigurationError(
                "misfire_grace_time and mistrigger_grace_time are the same; give one of them"
            )
        words["misfire_grace_time"] = words.pop("mistrigger_grace_time")
    options = {name: words.pop(name) for name in list(words) if name in OPTIONS}
    return options, words


def read_spelling(trigger: object, arguments: Mapping[str, Any]) -> Trigger:
    """Return the trigger that was said in exactly one way.

    A trigger or its alias with arguments; `every=` or `interval=` a text, seconds or a timedelta;
    `cron=` a crontab expression; or `at=` a moment. A time zone goes with each of them.
    """
    arguments = dict(arguments)
    spelled = {
        name: arguments.pop(name) for name in ("every", "interval", "cron", "at")
        if arguments.get(name) is not None
    }  # fmt: skip
    ways = len(spelled) + (trigger is not None)
    if not ways:
        raise TaskConfigurationError(
            "Either 'interval' or 'cron' must be provided, or a trigger, or 'at'"
        )
    if ways > 1:
        if trigger is None and "cron" in spelled and spelled.keys() & {"interval", "every"}:
            raise TaskConfigurationError(
                "Only one of 'interval' or 'cron' can be provided, not both"
            )
        names = [*spelled, *(["a trigger"] if trigger is not None else [])]
        raise TaskConfigurationError(f"say when in one way only, not with {' and '.join(names)}")
    if trigger is not None:
        return build_trigger(trigger, arguments)
    ((way, value),) = spelled.items()
    if way == "cron":
        return crontab(value, arguments)
    if way == "at":
        return build_trigger("date", {"run_at": value, **arguments})
    return every(value, arguments)


_PLAIN = {bool, date, float, int, str, timedelta, type(None)}
"""What can be compared without a second thought; datetimes in UTC can, too, see `_comparable`."""

Reading = Callable[[object, Mapping[str, Any]], Trigger]
Declaring = Callable[[Mapping[str, Any]], Declared]


def remembering(read: Reading) -> Reading:
    """Return a `read_spelling` that reads what is said again and again only once.

    Triggers are values, so the same one may serve many tasks.
    """
    latest: tuple[list[Any], Trigger] | None = None

    def remembered(trigger: object, arguments: Mapping[str, Any]) -> Trigger:
        nonlocal latest
        said = _comparable(trigger, arguments)
        if said is None:
            return read(trigger, arguments)
        if latest is None or latest[0] != said:
            latest = said, read(trigger, arguments)
        return latest[1]

    return remembered


def declaring_alike(declare: Declaring) -> Declaring:
    """Return a `declare` for tasks one after the other, which are often alike but for their ids.

    What was checked for the one before isn't checked again. All that is said about a task comes
    together, its function as `fn`.
    """
    latest: tuple[_Said, Declared] | None = None

    def declared(given: Mapping[str, Any]) -> Declared:
        nonlocal latest
        words = dict(given)
        task_id = words.pop("id", None)
        if latest is not None and task_id is not None and latest[0].is_again(words):
            return alike(latest[1], task_id)
        made = declare(given)
        if task_id is not None and _comparable(None, {**words, "fn": None}) is not None:
            latest = _Said(words), made
        return made

    return declared


class _Said:
    """What was said about a task: a function, and words that can be compared."""

    __slots__ = ("_fn", "_kinds", "_names", "_timed", "_values")

    def __init__(self, words: Mapping[str, Any]) -> None:
        self._fn = words["fn"]
        self._names = [*words]
        self._values = [*words.values()]
        self._kinds = [*map(type, self._values)]
        self._timed = datetime in self._kinds

    def is_again(self, words: Mapping[str, Any]) -> bool:
        """Whether the same is said about another task."""
        values = [*words.values()]
        return (
            # By identity: functions that compare equal needn't be the same.
            words["fn"] is self._fn
            # Types first: True is no 1 here, and of others nobody knows what it means to be equal.
            and [*map(type, values)] == self._kinds
            and [*words] == self._names
            and values == self._values
            and not (
                self._timed
                and any(type(each) is datetime and not _is_plain(each) for each in values)
            )
        )


def _comparable(trigger: object, words: Mapping[str, Any]) -> list[Any] | None:
    """Return what was said so that it can be compared: with types, since True is no 1 here.

    None where that can't be done: even datetimes are equal in both passes of an hour that comes
    twice, except for those in UTC.
    """
    values = [trigger, *words.values()]
    kinds = [*map(type, values)]
    if _PLAIN.issuperset(kinds) or all(map(_is_plain, values)):
        return [*kinds, *words, *values]
    return None


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or (type(value) is datetime and value.tzinfo is UTC)


def changed_definition(
    declarer: Declarer,
    changes: Mapping[str, Any],
    trigger: Trigger | None,
    target: Callable[..., Any] | None,
) -> Callable[[Definition], Definition]:
    """Return what turns a definition into one with some changes; checks what it can beforehand."""
    for name in changes:
        if name not in _CHANGEABLE:
            raise TaskConfigurationError(_unchangeable(name))
    fields = read_changes({name: changes[name] for name in changes if name in POLICIES})
    if "name" in changes:
        fields["name"] = read_name("name", changes["name"])
    if "tags" in changes:
        fields["tags"] = read_tags(changes["tags"])
    if "executor" in changes:
        fields["executor"] = named_executor(changes["executor"], declarer.executors)
    if trigger is not None:
        fields["trigger"], jitter = declarer.settled(trigger)
        if jitter is not None:
            fields |= read_changes({"jitter": jitter})

    def alter(definition: Definition) -> Definition:
        altered = replace(definition, **fields)
        if definition.gate is not None and not altered.fixed_delay:
            altered = replace(altered, trigger=in_step(altered.trigger))
        if {"args", "kwargs", "concurrency_key"} & changes.keys():
            payload, key = _payload(altered, changes, target)
            altered = replace(altered, payload=payload, concurrency_key=key)
        return altered

    return alter


def _payload(
    definition: Definition, changes: Mapping[str, Any], target: Callable[..., Any] | None
) -> tuple[str, str | None]:
    """Return the text of the arguments, and the key that they make."""
    target = definition.target or target
    args, kwargs = decode_arguments(definition.payload, target)
    if "args" in changes:
        args = tuple(read_args("args", changes["args"]))
    if "kwargs" in changes:
        kwargs = dict(read_kwargs("kwargs", changes["kwargs"]))
    if target is not None:
        check_signature(target, args, kwargs)
    key = rendered_key(definition.key_template, target, args, kwargs)
    return encode_arguments(args, kwargs, target) if args or kwargs else "", key


def _unchangeable(name: str) -> str:
    if name == "id":
        return "ids don't change; add a task under the other id and remove this one"
    if name in {"store", "scope"}:
        return f"a task stays where it is, {name} can't be changed; add it anew and remove this one"
    return f"{name!r} can't be changed; these can: {', '.join(sorted(_CHANGEABLE))}, next_run_time"
