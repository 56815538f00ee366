"""The one place where names become parts: triggers, stores and executors, ours and others'.

Parts are named here as text and imported when they are used. Other packages add theirs through the
entry points `tickwork.triggers`, `tickwork.stores` and `tickwork.executors`.
"""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar
from urllib.parse import unquote_plus

from tickwork.errors import InvalidInputError, InvalidTriggerError, TaskConfigurationError
from tickwork.interfaces import Executor, Reader, Store, Trigger

__all__ = [
    "build_executor",
    "build_store",
    "build_trigger",
    "crontab",
    "every",
    "is_trigger_alias",
    "load_trigger",
    "read_zone",
    "trigger_parameters",
]

_BUILT_IN = {
    "triggers": {
        "interval": "tickwork.triggers:IntervalTrigger",
        "cron": "tickwork.triggers:CronTrigger",
        "date": "tickwork.triggers:DateTrigger",
        "calendar": "tickwork.triggers:CalendarIntervalTrigger",
        "and": "tickwork.triggers:AndTrigger",
        "or": "tickwork.triggers:OrTrigger",
        "shutdown": "tickwork.triggers:ShutdownTrigger",
    },
    "stores": {
        "file": "tickwork.stores.file:FileStore",
        "memory": "tickwork.stores.memory:MemoryStore",
        "mongo": "tickwork.stores.mongo:MongoStore",
        "redis": "tickwork.stores.redis:RedisStore",
        "sqlalchemy": "tickwork.stores.sql:SQLStore",
    },
    "executors": {
        "asyncio": "tickwork.executors.event_loop:AsyncIOExecutor",
        "threadpool": "tickwork.executors.threads:ThreadPoolExecutor",
        "processpool": "tickwork.executors.processes:ProcessPoolExecutor",
        "inline": "tickwork.executors.inline:InlineExecutor",
    },
}

T = TypeVar("T")

_SCHEMES = {
    "sqlite": "sqlalchemy",
    "postgresql": "sqlalchemy",
    "postgres": "sqlalchemy",
    "mysql": "sqlalchemy",
    "mariadb": "sqlalchemy",
    "rediss": "redis",
    "unix": "redis",
    "mongodb": "mongo",
}
"""Beginnings of URLs, before a `+`, that aren't the alias of their store."""

_OBJECTS = {"sqlalchemy": "sqlalchemy", "redis": "redis", "pymongo": "mongo", "pathlib": "file"}
"""Packages whose objects (an engine, a client, a directory) say where a store is."""

_IN_URLS = {"durability", "prefix"}
"""Options of stores that may stand in their URLs."""

_EXTRAS = {"redis": "redis", "pymongo": "mongodb", "bson": "mongodb"}
"""The extra that brings a module which a part needs."""


@lru_cache(maxsize=256)
def _part(group: str, alias: str) -> Any:
    known = _BUILT_IN[group]
    if alias in known:
        module, _, name = known[alias].partition(":")
        with _driver_named(alias):
            return getattr(import_module(module), name)
    others = {each.name: each for each in entry_points(group=f"tickwork.{group}")}
    if alias in others:
        return others[alias].load()
    names = sorted({*known, *others})
    raise InvalidInputError(
        f"{alias!r} is not one of the known {group}: {', '.join(names)}{_close(alias, names)}"
    )


@contextmanager
def _driver_named(alias: str) -> Iterator[None]:
    """Say which extra to install, where a driver is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise InvalidInputError(
            f"{alias!r} needs the package {error.name!r}: pip install 'tickwork[{extra}]'"
        ) from error


def _close(word: str, words: Sequence[str]) -> str:
    found = difflib.get_close_matches(word, words, 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def is_trigger_alias(word: str) -> bool:
    """Whether a word names a kind of trigger."""
    others = entry_points(group="tickwork.triggers")
    return word in _BUILT_IN["triggers"] or any(each.name == word for each in others)


@lru_cache(maxsize=256)
def trigger_parameters(alias: str) -> tuple[str, ...]:
    """Return the names of the arguments that a kind of trigger takes."""
    parameters = inspect.signature(_part("triggers", alias)).parameters
    return tuple(parameters)


def build_trigger(trigger: object, arguments: Mapping[str, Any]) -> Trigger:
    """Make a trigger of an alias and its arguments, or return the trigger that was given.

    Raises:
        TaskConfigurationError: arguments that this kind doesn't take, with what it takes.
    """
    if isinstance(trigger, str):
        return _built(trigger, arguments)
    if not isinstance(trigger, Trigger) or inspect.isclass(trigger):
        raise TaskConfigurationError(
            f"{trigger!r} is not a trigger; use a name such as 'interval' or 'cron' with its "
            "arguments, or a trigger object"
        )
    if arguments:
        raise TaskConfigurationError(
            f"unknown arguments: {', '.join(sorted(arguments))}; a trigger object has its own "
            "arguments already"
        )
    return trigger


def _built(alias: str, arguments: Mapping[str, Any]) -> Trigger:
    kind = _part("triggers", alias)
    takes = trigger_parameters(alias)
    for name in arguments:
        if name not in takes:
            raise TaskConfigurationError(
                f"{name!r} is neither an option of a task nor an argument of the trigger "
                f"{alias!r}{_close(name, takes)}; it takes {', '.join(takes) or 'no arguments'}"
            )
    try:
        built: Trigger = kind(**arguments)
    except TypeError as error:
        raise InvalidTriggerError(f"trigger {alias!r}: {error}") from error
    return built


def load_trigger(data: Mapping[str, Any]) -> Trigger:
    """Make the trigger that JSON data describes, of whatever kind is installed."""
    kind = _part("triggers", data["kind"])
    if data["kind"] in {"and", "or"}:
        combined: Trigger = kind.from_json(data, load_trigger)
        return combined
    loaded: Trigger = kind.from_json(data)
    return loaded


def build_store(where: object) -> Store:
    """Make a store of a URL, of `{"type": ..., ...}`, or return the store that was given."""
    if isinstance(where, str):
        return _store_at(where, {})
    if isinstance(where, Mapping):
        options = dict(where)
        alias = options.pop("type", None)
        url = options.get("url")
        if isinstance(url, str) and alias in {None, _alias_of(url)}:
            return _store_at(options.pop("url"), options)
        if not isinstance(alias, str):
            raise InvalidInputError(f'a store needs a "type" or a "url", {dict(where)!r} has none')
        return _store(_part("stores", alias), options)
    alias = _OBJECTS.get(type(where).__module__.partition(".")[0])
    if alias is not None:
        # First: a MongoDB client has an attribute for every name that it is asked for.
        return _store(_part("stores", alias), {"url": where})
    if isinstance(where, Store) and isinstance(where, Reader) and not inspect.isclass(where):
        return where
    raise InvalidInputError(
        f"{where!r} is not a store; use a URL (memory://, sqlite:///tasks.db, ...), "
        'a dict with a "type", or a store object'
    )


def _store_at(url: str, options: dict[str, Any]) -> Store:
    _, separator, rest = url.partition("://")
    if not separator:
        raise InvalidInputError(
            f"{url!r} is not the URL of a store; examples: memory://, sqlite:///tasks.db"
        )
    kind = _part("stores", _alias_of(url))
    takes = set(inspect.signature(kind).parameters)
    if not rest and "url" not in takes:
        return _store(kind, options)
    address, mine = _options_apart(url, takes)
    return _store(kind, {**mine, **options, "url": address})


def _alias_of(url: str) -> str:
    name = url.partition("://")[0].partition("+")[0]
    return _SCHEMES.get(name, name)


def _options_apart(url: str, takes: set[str]) -> tuple[str, dict[str, str]]:
    """Return a URL without the options of ours in its query, and these.

    They travel there because a URL is often all that one can configure.
    """
    address, _, query = url.partition("?")
    mine: dict[str, str] = {}
    kept = []
    for word in filter(None, query.split("&")):
        name, _, value = word.partition("=")
        if name in takes & _IN_URLS:
            mine[name] = unquote_plus(value)
        else:
            kept.append(word)
    return f"{address}?{'&'.join(kept)}" if kept else address, mine


def build_executor(what: object) -> Executor:
    """Make an executor of an alias, of `{"type": ..., ...}`, or return the one that was given."""
    if isinstance(what, str):
        return _executor(_part("executors", what), {})
    if isinstance(what, Mapping):
        options = dict(what)
        alias = options.pop("type", None)
        if not isinstance(alias, str):
            raise InvalidInputError(f'an executor needs a "type", {dict(what)!r} has none')
        return _executor(_part("executors", alias), options)
    if isinstance(what, Executor) and not inspect.isclass(what):
        return what
    raise InvalidInputError(
        f"{what!r} is not an executor; use a name such as 'threadpool', a dict with a \"type\", "
        "or an executor object"
    )


def _store(kind: Callable[..., Store], options: Mapping[str, Any]) -> Store:
    return _made("store", kind, options)


def _executor(kind: Callable[..., Executor], options: Mapping[str, Any]) -> Executor:
    return _made("executor", kind, options)


def _made(what: str, kind: Callable[..., T], options: Mapping[str, Any]) -> T:
    takes = list(inspect.signature(kind).parameters)
    for name in options:
        if name not in takes:
            raise InvalidInputError(
                f"{name!r} is not an option of this {what}{_close(name, takes)}; "
                f"it takes {', '.join(takes) or 'no options'}"
            )
    return kind(**options)


def every(interval: object, arguments: Mapping[str, Any]) -> Trigger:
    """Make an interval trigger of a text, a number of seconds or a timedelta."""
    return _spelled("interval", "from_text", interval, arguments)


def crontab(expression: object, arguments: Mapping[str, Any]) -> Trigger:
    """Make a cron trigger of a crontab expression."""
    return _spelled("cron", "from_crontab", expression, arguments)


def _spelled(alias: str, constructor: str, text: object, arguments: Mapping[str, Any]) -> Trigger:
    make = getattr(_part("triggers", alias), constructor)
    takes = list(inspect.signature(make).parameters)[1:]
    for name in arguments:
        if name not in takes:
            raise TaskConfigurationError(
                f"{name!r} is neither an option of a task nor goes with {text!r}"
                f"{_close(name, takes)}; what goes with it: {', '.join(takes)}"
            )
    built: Trigger = make(text, **arguments)
    return built


def read_zone(zone: object) -> tzinfo | None:
    """Return the time zone of a name, an offset or a zone object."""
    read: tzinfo | None = import_module("tickwork.triggers.zones").read_zone(zone)
    return read
