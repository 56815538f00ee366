"""Tasks with schedules of which the fire times are known without asking the scheduler."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.cluster.checker import Expected
from tickwork.model.instants import SECOND, from_us
from tickwork.model.policies import Coalesce, Delivery

__all__ = ["Every", "a_mixture", "length_s"]

_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """A task that fires from `start_us` to `end_us`, both included, every `interval_us`.

    `duration_s` is how long one execution takes.
    """

    id: str
    interval_us: int
    start_us: int
    end_us: int
    coalesce: str = "all"
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    coroutine: bool = False
    duration_s: float = 0.0
    max_instances: int = 1
    misfire_grace_s: float | None = None
    function: str | None = None

    def fire_times(self) -> Sequence[int]:
        """Return when it should fire."""
        return range(self.start_us, self.end_us + 1, self.interval_us)

    def expected(self, **changes: Any) -> Expected:
        """Return what the checker is to expect."""
        grace_s = self.misfire_grace_s
        known: dict[str, Any] = {
            "task_id": self.id,
            "fire_times": self.fire_times(),
            "delivery": self.delivery,
            "max_instances": self.max_instances,
            "coalesce": Coalesce(self.coalesce),
            "misfire_grace_us": grace_s and round(grace_s * SECOND),
        }
        return Expected(**{**known, **changes})

    def options(self) -> dict[str, Any]:
        """Return what `add_task` is told."""
        name = "work_async" if self.coroutine else "work"
        plain = self.function is None
        return {
            "fn": self.function or f"tests.cluster.work:{name}",
            "trigger": "interval",
            "seconds": self.interval_us / SECOND,
            "start_at": from_us(self.start_us),
            "end_at": from_us(self.end_us),
            "args": [self.duration_s] if plain else [],
            "id": self.id,
            "coalesce": self.coalesce,
            "delivery": str(self.delivery),
            "max_instances": self.max_instances,
            "misfire_grace_time": self.misfire_grace_s,
        }


def a_mixture(random: Random, count: int, start_us: int, fires: int) -> list[Every]:
    """Return tasks of all sorts that have `fires` fire times: each policy meets each function.

    Executions are short but for some, which a kill then meets in the middle.
    """
    endless = [_one_of_a_mixture(random, number, start_us) for number in range(count)]
    end_us = start_us
    while sum(len(replace(task, end_us=end_us).fire_times()) for task in endless) < fires:
        end_us += 10 * _MS
    return [replace(task, end_us=end_us) for task in endless]


def _one_of_a_mixture(random: Random, number: int, start_us: int) -> Every:
    interval_us = random.choice((100, 200, 250, 400, 500, 1_000)) * _MS
    begins_us = start_us + random.randrange(0, interval_us)
    coalesce = ("all", "latest", "earliest", "all")[number // 4 % 4]
    delivery = (Delivery.AT_LEAST_ONCE, Delivery.AT_MOST_ONCE)[number // 2 % 2]
    short_s = interval_us / SECOND / 4
    return Every(
        id=f"{coalesce}-{delivery}-{number}",
        interval_us=interval_us,
        start_us=begins_us,
        end_us=begins_us,
        coalesce=coalesce,
        delivery=delivery,
        coroutine=bool(number % 2),
        duration_s=random.choice((0.0, 0.0, short_s, 1.5 * short_s)),
        max_instances=random.choice((1, 1, 1, 3)),
        misfire_grace_s=1.0 if number % 8 == 5 else None,
    )


def length_s(tasks: Sequence[Every]) -> float:
    """Return for how long tasks fire."""
    first_us, last_us = min(task.start_us for task in tasks), max(task.end_us for task in tasks)
    return (last_us - first_us) / SECOND
