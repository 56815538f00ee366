"""The options of tasks and runs: read from what users say, each refused with what to do instead."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from string import Formatter
from typing import Any

from tickwork.errors import TaskConfigurationError
from tickwork.model.instants import SECOND, us_of
from tickwork.model.policies import Coalesce, Delivery, Keep, Overlap
from tickwork.model.standard import is_unicode

__all__ = [
    "POLICIES",
    "RUN_POLICIES",
    "read_changes",
    "read_duration",
    "read_flag",
    "read_name",
    "read_whole",
    "read_word",
    "rendered_key",
]

_LONGEST_S = 1_000 * 366 * 86_400
_LONGEST_KEY = 191
_MOST = 1_000_000_000
_WIDE = re.compile(r"\d{3}|\{")
"""What asks for a width or precision of hundreds of characters, or takes it from an argument."""

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")

RUN_POLICIES = frozenset(
    {
        "delivery",
        "retries",
        "delay",
        "backoff",
        "max_delay",
        "retry_jitter",
        "retry_on",
        "give_up_on",
        "timeout",
        "result_ttl",
        "keep",
        "priority",
        "concurrency_key",
        "concurrency_limit",
    }
)
"""The options that concern each run, whether it is scheduled or submitted."""

POLICIES = RUN_POLICIES | {
    "coalesce",
    "misfire_grace_time",
    "max_instances",
    "jitter",
    "fixed_delay",
    "max_history",
    "overlap",
    "max_queued",
    "run_on_startup",
    "max_runs",
    "pause_after_failures",
}
"""The options that become fields of a definition as they are."""


def read_changes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policies that a user named as fields of a definition."""
    fields: dict[str, Any] = {}
    for name, value in options.items():
        field_name, read = _READERS[name]
        fields[field_name] = read(name, value)
    delay_us, most_us = fields.get("retry_delay_us"), fields.get("max_delay_us")
    if delay_us is not None and most_us is not None and most_us < delay_us:
        raise TaskConfigurationError(
            f"max_delay={options['max_delay']!r} is less than delay={options['delay']!r}, "
            "the wait before the first retry"
        )
    return fields


def read_name(name: str, value: object) -> str:
    """Return a text that names something."""
    if not isinstance(value, str) or not value.strip() or not is_unicode(value):
        raise TaskConfigurationError(f"{name}={value!r} is not a text that names something")
    return value


def read_word(name: str, kind: type[Any], value: object) -> Any:
    """Return a member of an enumeration of words."""
    try:
        return kind(value)
    except ValueError:
        words = ", ".join(repr(each.value) for each in kind)
        raise TaskConfigurationError(f"{name}={value!r} isn't known; use one of {words}") from None


def _word(kind: type[Any]) -> Callable[[str, object], Any]:
    return lambda name, value: read_word(name, kind, value)


def _coalesce(name: str, value: object) -> Coalesce:
    if isinstance(value, bool):
        return Coalesce.LATEST if value else Coalesce.ALL
    word: Coalesce = read_word(name, Coalesce, value)
    return word


def read_flag(name: str, value: object) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise TaskConfigurationError(f"{name}={value!r} must be True or False")
    return value


def read_whole(name: str, value: object, least: int) -> int:
    """Return a whole number from `least` on, of a size that every store takes."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise TaskConfigurationError(
            f"{name}={str(value)[:40]} must be a whole number from {least} to {_MOST}"
        )
    return value


def _from(least: int) -> Callable[[str, object], int]:
    return lambda name, value: read_whole(name, value, least)


def _from_or_none(least: int) -> Callable[[str, object], int | None]:
    return lambda name, value: None if value is None else read_whole(name, value, least)


def _factor(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= _MOST:
        raise TaskConfigurationError(
            f"{name}={value!r} must be a number of at least 1, by which each wait is longer than "
            "the one before"
        )
    return float(value)


def read_duration(name: str, value: object) -> int:
    """Return seconds or a timedelta as microseconds."""
    if isinstance(value, timedelta):
        duration_us = us_of(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:  # noqa: PLR0124  nan
        # Compared before it is converted: 10**400 has no float, and infinity no integer.
        duration_us = round(value * SECOND) if abs(value) <= _LONGEST_S else _LONGEST_S * SECOND + 1
        duration_us = -1 if value < 0 else duration_us
    else:
        raise TaskConfigurationError(
            f"{name}={value!r} is not a duration; give seconds as a number, or a timedelta"
        )
    if duration_us < 0:
        raise TaskConfigurationError(f"{name}={value!r} must not be negative")
    if duration_us > _LONGEST_S * SECOND:
        raise TaskConfigurationError(
            f"{name} is longer than a thousand years; use None for no limit"
        )
    return duration_us


def _limit(name: str, value: object) -> int | None:
    if value is None:
        return None
    duration_us = read_duration(name, value)
    if not duration_us:
        raise TaskConfigurationError(
            f"{name}={value!r} would let nothing through; use None for no limit"
        )
    return duration_us


def _timeout(name: str, value: object) -> int:
    """Return a time-out; 0 is none at all, whatever the scheduler's default is."""
    return _limit(name, value) or 0


def _optional(name: str, value: object) -> int:
    return 0 if value is None else read_duration(name, value)


def _kept(name: str, value: object) -> int | None:
    return None if value is None else read_duration(name, value)


def _kinds(name: str, value: object) -> tuple[str, ...]:
    """Return exception types as the names of their classes, as failures are named."""
    listed = value if isinstance(value, (Sequence, set, frozenset)) else [value]
    if value is None or isinstance(value, str):
        listed = [] if value is None else [value]
    names = [_kind(name, each) for each in listed]
    return tuple(dict.fromkeys(sorted(names) if isinstance(value, (set, frozenset)) else names))


def _kind(name: str, value: object) -> str:
    if isinstance(value, str) and _DOTTED.fullmatch(value):
        return value
    if isinstance(value, type) and issubclass(value, BaseException):
        module, qualname = value.__module__, value.__qualname__
        return qualname if module == "builtins" else f"{module}.{qualname}"
    raise TaskConfigurationError(
        f"{name}={value!r} is no exception type; give classes such as ConnectionError, or their "
        "names such as 'shop.errors.Busy'"
    )


def _template(name: str, value: object) -> str | None:
    if value is None:
        return None
    template = read_name(name, value)
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise TaskConfigurationError(f"{name}={value!r} can't be read: {error}") from None
    for _, field, form, _ in parts:
        if not (field or "").isidentifier():
            raise TaskConfigurationError(
                f"{name}={value!r}: {{{field}}} is no name of an argument, as in "
                "'customer:{customer_id}'"
            )
        if form and _WIDE.search(form):
            # Whoever may add a task could have each run of it fill the memory.
            raise TaskConfigurationError(
                f"{name}={value!r}: {{{field}:{form}}} asks for too wide a text; at most 99"
            )
    return template


def rendered_key(
    template: str | None,
    function: Callable[..., Any] | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> str | None:
    """Return the key that a run with these arguments has.

    Raises:
        TaskConfigurationError: the template names an argument that isn't there.
    """
    if template is None:
        return None
    if "{" not in template and "}" not in template:
        key = template
    else:
        try:
            key = template.format_map(_by_name(function, args, kwargs))
        except (KeyError, ValueError, TypeError) as error:
            raise TaskConfigurationError(
                f"concurrency_key={template!r} doesn't fit the arguments: {error!r}"
            ) from error
    if not key.strip() or not is_unicode(key) or len(key) > _LONGEST_KEY:
        raise TaskConfigurationError(
            f"concurrency_key={template!r} becomes {key!r:.80}; it must have 1 to {_LONGEST_KEY} "
            "characters"
        )
    return key


def _by_name(
    function: Callable[..., Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return arguments, and defaults, by the names of their parameters."""
    if function is None:
        return kwargs
    bound = inspect.signature(function).bind_partial(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


_READERS: dict[str, tuple[str, Callable[[str, object], Any]]] = {
    "coalesce": ("coalesce", _coalesce),
    "misfire_grace_time": ("misfire_grace_us", _limit),
    "max_instances": ("max_instances", _from(1)),
    "jitter": ("jitter_us", _optional),
    "delivery": ("delivery", _word(Delivery)),
    "fixed_delay": ("fixed_delay", read_flag),
    "max_history": ("max_history", _from_or_none(0)),
    "retries": ("retries", _from(0)),
    "delay": ("retry_delay_us", _optional),
    "backoff": ("backoff", _factor),
    "max_delay": ("max_delay_us", _kept),
    "retry_jitter": ("retry_jitter_us", _optional),
    "retry_on": ("retry_on", _kinds),
    "give_up_on": ("give_up_on", _kinds),
    "timeout": ("timeout_us", _timeout),
    "result_ttl": ("result_ttl_us", _kept),
    "keep": ("keep", _word(Keep)),
    "overlap": ("overlap", _word(Overlap)),
    "max_queued": ("max_queued", _from(0)),
    "priority": ("priority", _from(-_MOST)),
    "concurrency_key": ("key_template", _template),
    "concurrency_limit": ("concurrency_limit", _from(1)),
    "run_on_startup": ("run_on_startup", read_flag),
    "max_runs": ("max_runs", _from_or_none(1)),
    "pause_after_failures": ("pause_after_failures", _from_or_none(1)),
}
