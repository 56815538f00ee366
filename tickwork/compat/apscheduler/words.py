"""APScheduler's words in ours: options of jobs, arguments of triggers, the configuration."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from tickwork import triggers

__all__ = [
    "CronTrigger",
    "DateTrigger",
    "IntervalTrigger",
    "our_alias",
    "our_configuration",
    "our_options",
    "our_store",
]

_GRACE_S = 1
_OPTIONS = {"jobstore": "store"}
_TIMES = {"run_date": "run_at", "start_date": "start_at", "end_date": "end_at"}
_ALIASES = {"calendarinterval": "calendar", "mongodb": "mongo"}
_CONFIGURATION = {"jobstores": "stores", "executors": "executors", "job_defaults": "task_defaults"}
_WITHOUT_NEED = {"daemon", "event_loop", "jobstore_retry_interval", "logger"}
"""Options of their schedulers that nothing here depends on."""

_NONE_MEANS_SOMETHING = {"misfire_grace_time", "next_run_time"}


def our_alias(name: Any) -> Any:
    """Return the alias of a trigger or store as ours is called; other things as they are."""
    return _ALIASES.get(name, name) if isinstance(name, str) else name


def our_options(given: Mapping[str, Any], trigger: Any, executors: Collection[str]) -> Any:
    """Return options of a job, and arguments of its trigger, without those that say nothing."""
    # Calendar intervals begin and end with dates here, too.
    words = _OPTIONS if our_alias(trigger) == "calendar" else {**_OPTIONS, **_TIMES}
    return {
        words.get(name, name): value
        for name, value in given.items()
        if (value is not None or name in _NONE_MEANS_SOMETHING)
        and not (name == "executor" and value == "default" and value not in executors)
    }


def our_store(where: Any) -> Any:
    """Return a job store as ours are described."""
    if not isinstance(where, Mapping):
        return f"{where}://" if where == "memory" else where
    return {**where, "type": our_alias(where.get("type"))}


def our_configuration(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a scheduler as ours takes them."""
    options = {
        _CONFIGURATION.get(name, name): value
        for name, value in given.items()
        if name not in _WITHOUT_NEED and value is not None
    }
    stores = {name: our_store(each) for name, each in options.get("stores", {}).items()}
    options["stores"] = {"default": "memory://", **stores}
    options["task_defaults"] = {
        "misfire_grace_time": _GRACE_S,
        **options.get("task_defaults", {}),
    }
    return options


def _timed(make: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    return make(**{_TIMES.get(name, name): value for name, value in arguments.items()})


class CronTrigger:
    """Makes our cron trigger of their fields; `from_crontab` reads a line as crontab does."""

    from_crontab = triggers.CronTrigger.from_crontab

    def __new__(cls, **fields: Any) -> triggers.CronTrigger:  # type: ignore[misc]  # a name for ours
        """Return ours."""
        return _timed(triggers.CronTrigger, fields)  # type: ignore[no-any-return]  # it is one


class IntervalTrigger:
    """Makes our interval trigger of their arguments."""

    def __new__(cls, **arguments: Any) -> triggers.IntervalTrigger:  # type: ignore[misc]  # as above
        """Return ours."""
        return _timed(triggers.IntervalTrigger, arguments)  # type: ignore[no-any-return]  # it is one


class DateTrigger:
    """Makes our date trigger of their arguments."""

    def __new__(cls, run_date: Any = None, timezone: Any = None) -> triggers.DateTrigger:  # type: ignore[misc]  # as above
        """Return ours."""
        return triggers.DateTrigger(run_date, timezone)
