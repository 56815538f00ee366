"""What holds for all runs of a scheduler, unless their task says otherwise."""

import logging
from dataclasses import dataclass, replace
from datetime import timedelta

from tickwork.errors import InvalidInputError
from tickwork.model.instants import SECOND
from tickwork.scheduler.loop import LoopSettings
from tickwork.scheduler.options import read_changes, read_duration, read_whole

__all__ = ["SchedulerConfig"]

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """The settings of a scheduler; durations are seconds or timedeltas.

    At most `max_concurrent_runs` execute at a time in this process, whatever the executors could
    take; the rest stay pending. `default_timeout` ends runs whose task has no `timeout`; None is
    no limit. Ended runs are kept for `result_ttl`, and of each task the newest `max_history`; what
    is beyond that is forgotten every `cleanup_interval`. Log records of a run below `log_level` (a
    name or number of `logging`) are not kept with it.
    """

    max_concurrent_runs: int | None = None
    default_timeout: float | timedelta | None = None
    result_ttl: float | timedelta = 30 * _DAY_S
    max_history: int = 1_000
    cleanup_interval: float | timedelta = 60.0
    log_level: str | int = logging.NOTSET

    def applied(self, settings: LoopSettings) -> LoopSettings:
        """Return how the loops work under these settings.

        Raises:
            InvalidInputError: a setting makes no sense; the message says what to do.
        """
        most = self.max_concurrent_runs
        return replace(
            settings,
            max_runs=None if most is None else read_whole("max_concurrent_runs", most, 1),
            timeout_us=read_changes({"timeout": self.default_timeout})["timeout_us"] or None,
            result_ttl_us=read_duration("result_ttl", self.result_ttl),
            max_history=read_whole("max_history", self.max_history, 0),
            prune_us=_interval(self.cleanup_interval),
            log_level=_level(self.log_level),
        )


def _interval(interval: float | timedelta) -> int:
    interval_us = read_duration("cleanup_interval", interval)
    if interval_us < SECOND // 10:
        raise InvalidInputError(
            f"cleanup_interval={interval!r} must be at least a tenth of a second"
        )
    return interval_us


def _level(level: object) -> int:
    known = logging.getLevelNamesMapping()
    if isinstance(level, str) and level.upper() in known:
        return known[level.upper()]
    if isinstance(level, int) and not isinstance(level, bool) and level >= 0:
        return level
    raise InvalidInputError(
        f"log_level={level!r} is no level of logging; use one of {', '.join(map(repr, known))}"
    )
