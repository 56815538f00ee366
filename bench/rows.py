"""The rows that are much the same for several stores: who takes part, on how many tasks.

Who needs minutes for what others do in seconds is measured on fewer tasks, which the table says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.contenders import Kind, Work
from bench.group import Group
from bench.spec import Spec

__all__ = [
    "WORKS",
    "Scale",
    "adds",
    "burst",
    "bursts",
    "idle",
    "queues",
    "restart",
    "specs",
    "steady",
]

_STORING: Mapping[Kind, tuple[str, ...]] = {
    "memory": ("tickwork", "apscheduler", "asyncz"),
    "sqlite": ("tickwork", "apscheduler", "asyncz"),
    "postgresql": ("tickwork", "apscheduler", "asyncz"),
    "redis": ("tickwork", "apscheduler", "asyncz"),
    "file": ("tickwork", "asyncz"),
}
"""Who schedules on a store; queues come in addition."""

_MOST: Mapping[tuple[Kind, str], int] = {
    ("memory", "asyncz"): 20_000,
    ("sqlite", "apscheduler"): 5_000,
    ("sqlite", "asyncz"): 5_000,
    ("sqlite", "huey"): 5_000,
    ("postgresql", "apscheduler"): 1_000,
    ("postgresql", "asyncz"): 1_000,
    ("postgresql", "huey"): 2_000,
    ("postgresql", "procrastinate"): 1_000,
    ("redis", "apscheduler"): 5_000,
    ("redis", "asyncz"): 5_000,
    ("redis", "huey"): 5_000,
    ("file", "asyncz"): 1_000,
    ("file", "huey"): 1_000,
}
"""On how many tasks somebody is measured at most."""

_IN_BULK = {"tickwork", "procrastinate"}
"""Who can add many tasks by one call."""

WORKS: tuple[Work, Work] = ("coroutine", "thread")


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is: in a quick run a tenth, measured once."""

    quick: bool
    folder: str

    def tasks(self, count: int) -> int:
        """Return how many tasks to take instead."""
        return count // 10 if self.quick else count

    def seconds(self, seconds: int) -> int:
        """Return for how many seconds to look on instead."""
        return max(2, seconds // 4) if self.quick else seconds

    def repeats(self, repeats: int) -> int:
        """Return how often to measure at most instead."""
        return 1 if self.quick else repeats


def specs(
    scale: Scale, workload: str, who: tuple[str, ...], *, store: Kind, count: int, work: Work
) -> tuple[Spec, ...]:
    """Return a spec for each who takes part, on fewer tasks where it needs long."""
    return tuple(
        Spec(
            workload=workload,
            contender=each,
            store=store,
            work="thread" if each == "huey" else work,
            count=min(scale.tasks(count), _MOST.get((store, each), count)),
        )
        for each in who
    )


def queues(store: Kind, work: Work) -> tuple[str, ...]:
    """Return the queues that there are on a store, for a kind of function."""
    procrastinate = ("procrastinate",) if store == "postgresql" else ()
    return (*(("huey",) if work == "thread" else ()), *procrastinate)


def bursts(
    scale: Scale, store: Kind, *, factor: float | None = None, rival: str | None = None
) -> Iterator[Group]:
    for work in WORKS:
        for count in (1_000, 10_000):
            yield burst(scale, store, work, count, factor=factor, rival=rival)


def burst(
    scale: Scale,
    store: Kind,
    work: Work,
    count: int,
    *,
    factor: float | None,
    rival: str | None = "apscheduler",
) -> Group:
    floor = ("floor",) if store == "memory" else ()
    who = (*_STORING[store], *queues(store, work), *floor)
    return Group(
        section=store,
        title=f"burst of {scale.tasks(count):,}, {work}s",
        figure="per_s",
        specs=specs(scale, "burst", who, store=store, count=count, work=work),
        repeats=scale.repeats(3),
        factor=factor,
        rival=rival,
    )


def adds(
    scale: Scale, store: Kind, *, one: int, bulk: int, bulk_factor: float | None = None
) -> Iterator[Group]:
    """Yield adding one by one, and in bulk; who has no bulk is compared in both.

    `bulk_factor` is wanted to the one peer that can.
    """
    who = (*_STORING[store], *queues(store, "thread"))
    each = specs(scale, "adds", who, store=store, count=one, work="coroutine")
    yield Group(
        section=store,
        title=f"add {scale.tasks(one):,} one by one",
        figure="per_s",
        specs=each,
        repeats=scale.repeats(3),
    )
    many = scale.tasks(bulk)
    in_bulk = tuple(
        Spec(workload="adds", contender=name, store=store, count=many, bulk=True)
        for name in who
        if name in _IN_BULK
    )
    yield Group(
        section=store,
        title=f"add {many:,} in bulk; who can't, as above",
        figure="per_s",
        specs=(*in_bulk, *(spec for spec in each if spec.contender not in _IN_BULK)),
        repeats=scale.repeats(3),
        factor=bulk_factor,
        rival="procrastinate",
    )


def steady(scale: Scale, store: Kind, count: int, seconds: int) -> Group:
    floor = ("floor",) if store == "memory" else ()
    count = scale.tasks(count)
    return Group(
        section=store,
        title=f"steady, {count:,} one-second tasks",
        figure="on_time_percent",
        specs=tuple(
            Spec(
                workload="steady",
                contender=each,
                store=store,
                count=count,
                seconds=scale.seconds(seconds),
            )
            for each in (*_STORING[store], *floor)
        ),
        repeats=1,
    )


def idle(scale: Scale, store: Kind) -> Group:
    count = scale.tasks(100_000)
    return Group(
        section=store,
        title=f"idle with {count:,} tasks",
        figure="cpu_percent",
        specs=tuple(
            Spec(
                workload="idle",
                contender=each,
                store=store,
                count=count,
                seconds=scale.seconds(8),
                folder=scale.folder,
            )
            for each in _STORING[store]
        ),
        repeats=1,
        more_is_better=False,
        most=1.0,
    )


def restart(scale: Scale) -> Group:
    count = scale.tasks(100_000)
    return Group(
        section="sqlite",
        title=f"ready with {count:,} stored tasks",
        figure="ready_s",
        specs=tuple(
            Spec(
                workload="restart",
                contender=each,
                store="sqlite",
                count=count,
                folder=scale.folder,
            )
            for each in _STORING["sqlite"]
        ),
        repeats=scale.repeats(3),
        more_is_better=False,
        most=0.5,
    )
