"""The next fire time of a cron expression: microseconds a step, at the median of many chains.

A chain asks for ten fire times, each after the one before, as a scheduler does; chains begin at 60
instants of one year. Everybody answers with aware datetimes. What is made once for an expression
(parsing it, croniter's iterator) is not part of it.
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bench.spec import Spec

__all__ = ["EXPRESSIONS", "SPARSE", "measure"]

SPARSE = "0 0 29 2 *"
EXPRESSIONS = (
    "* * * * *",
    "*/5 * * * *",
    "*/15 9-17 * * mon-fri",
    "0 * * * *",
    "30 * * * *",
    "0 */2 * * *",
    "0 0 * * *",
    "0 8 * * *",
    "30 2 * * *",
    "0 8 * * mon-fri",
    "0 22 * * 1-5",
    "15 3 * * sun",
    "0 0 * * 0",
    "0 0 1 * *",
    "0 12 15 * *",
    "0 6 1,15 * *",
    "0 9 1-7 * mon",
    "0 0 1 1 *",
    "0 0 1 */3 *",
    SPARSE,
)
_CHAINS = 60
_STEPS = 10
_BEGIN = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)

Chain = Callable[[], Any]


def measure(spec: Spec) -> dict[str, Any]:
    """Return the microseconds a step of each expression, their median, and those of the sparse."""
    prepare = {"tickwork": _tickwork, "croniter": _croniter, "apscheduler": _apscheduler}
    zone = ZoneInfo(spec.zone)
    begins = [
        (_BEGIN + timedelta(days=6, hours=5) * number).astimezone(zone) for number in range(_CHAINS)
    ]
    steps_us = {}
    for expression in EXPRESSIONS:
        chains = [prepare[spec.contender](expression, zone, begin) for begin in begins]
        steps_us[expression] = statistics.median(_step_us(chain) for chain in chains)
    return {
        "step_us": statistics.median(steps_us.values()),
        "sparse_us": steps_us[SPARSE],
        "steps_us": steps_us,
    }


def _step_us(chain: Chain) -> float:
    started_ns = time.perf_counter_ns()
    chain()
    return (time.perf_counter_ns() - started_ns) / _STEPS / 1_000


def _tickwork(expression: str, zone: ZoneInfo, begin: datetime) -> Chain:
    from tickwork.triggers import CronTrigger

    trigger = CronTrigger.from_crontab(expression, timezone=zone)

    def chain() -> None:
        at: datetime | None = begin
        for _ in range(_STEPS):
            assert at is not None
            at = trigger.next_fire_time(at)

    return chain


def _croniter(expression: str, _: ZoneInfo, begin: datetime) -> Chain:
    from croniter import croniter

    iterator = croniter(expression, begin)

    def chain() -> None:
        for _ in range(_STEPS):
            iterator.get_next(datetime)

    return chain


def _apscheduler(expression: str, zone: ZoneInfo, begin: datetime) -> Chain:
    from apscheduler.triggers.cron import CronTrigger

    trigger = CronTrigger.from_crontab(expression, timezone=zone)

    def chain() -> None:
        at = begin
        for _ in range(_STEPS):
            at = trigger.get_next_fire_time(at, at)

    return chain
