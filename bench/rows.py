"""The rows that are much the same for several stores: who takes part, on how many tasks.

Who needs minutes for what others do in seconds is measured on fewer tasks, which the table says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bench.contenders import Kind, Work
from bench.group import Group, Target
from bench.spec import Spec

__all__ = [
    "WORKS",
    "Scale",
    "adds",
    "burst",
    "bursts",
    "held",
    "idle_in_memory",
    "limit",
    "million",
    "queues",
    "specs",
]

_STORES: Mapping[Kind, str] = {
    "memory": "memory",
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "redis": "Redis",
}

_STORING: Mapping[Kind, tuple[str, ...]] = {
    "memory": ("tickwork", "apscheduler", "apscheduler4", "asyncz"),
    "sqlite": ("tickwork", "apscheduler", "apscheduler4", "asyncz"),
    "postgresql": ("tickwork", "apscheduler", "apscheduler4", "asyncz"),
    "redis": ("tickwork", "apscheduler", "asyncz"),
    "file": ("tickwork", "asyncz"),
}
"""Who schedules on a store; queues come in addition."""

_MOST: Mapping[tuple[Kind, str], int] = {
    ("memory", "asyncz"): 20_000,
    ("memory", "apscheduler4"): 5_000,
    ("sqlite", "apscheduler"): 5_000,
    ("sqlite", "apscheduler4"): 500,
    ("sqlite", "asyncz"): 5_000,
    ("sqlite", "huey"): 5_000,
    ("postgresql", "apscheduler"): 1_000,
    ("postgresql", "apscheduler4"): 500,
    ("postgresql", "asyncz"): 1_000,
    ("postgresql", "huey"): 2_000,
    ("postgresql", "procrastinate"): 1_000,
    ("redis", "apscheduler"): 5_000,
    ("redis", "asyncz"): 5_000,
    ("redis", "huey"): 5_000,
    ("redis", "rq"): 2_000,
    ("file", "asyncz"): 1_000,
    ("file", "huey"): 1_000,
}
"""On how many tasks somebody is measured at most."""

_IN_BULK = {"tickwork", "procrastinate", "rq"}
"""Who can add many tasks by one call."""

_IN_THREADS = {"huey", "rq"}
"""Who calls functions in threads only."""

_LIMITS: Mapping[Kind, tuple[str, ...]] = {
    "memory": ("floor", "recorded"),
    "sqlite": ("recorded",),
    "redis": ("recorded",),
}
"""Who is no scheduler, and shows what one could reach at best in a burst."""

WORKS: tuple[Work, Work] = ("coroutine", "thread")


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is: in a quick run a tenth, measured once."""

    quick: bool

    def tasks(self, count: int) -> int:
        """Return how many tasks to take instead."""
        return count // 10 if self.quick else count

    def seconds(self, seconds: int) -> int:
        """Return for how many seconds to look on instead."""
        return min(seconds, 1) if self.quick else seconds

    def who(self, everybody: tuple[str, ...]) -> tuple[str, ...]:
        """Return who takes part in what takes long: in a quick run, two of them."""
        return everybody[:2] if self.quick else everybody

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
            work="thread" if each in _IN_THREADS else work,
            count=scale.tasks(min(count, _MOST.get((store, each), count))),
        )
        for each in who
    )


def queues(store: Kind, work: Work) -> tuple[str, ...]:
    """Return the queues that there are on a store, for a kind of function."""
    threads = {"redis": ("huey", "rq")}.get(store, ("huey",))
    procrastinate = ("procrastinate",) if store == "postgresql" else ()
    return (*(threads if work == "thread" else ()), *procrastinate)


def bursts(scale: Scale, store: Kind, *targets: Target) -> Iterator[Group]:
    for work in WORKS:
        for count in (1_000, 10_000):
            yield burst(scale, store, work, count, *targets)


def burst(scale: Scale, store: Kind, work: Work, count: int, *targets: Target) -> Group:
    who = (*_STORING[store], *queues(store, work), *_LIMITS.get(store, ()))
    return Group(
        section=store,
        title=f"burst of {scale.tasks(count):,}, {work}s",
        figure="per_s",
        specs=specs(scale, "burst", who, store=store, count=count, work=work),
        repeats=scale.repeats(3),
        targets=targets,
    )


def adds(scale: Scale, store: Kind, *targets: Target, one: int, bulk: int) -> Iterator[Group]:
    """Yield adding one by one, and in bulk; who has no bulk is compared in both.

    The targets are those of adding in bulk.
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
        replace(spec, count=many, bulk=True) for spec in each if spec.contender in _IN_BULK
    )
    yield Group(
        section=store,
        title=f"add {many:,} in bulk; who can't, as above",
        figure="per_s",
        specs=(*in_bulk, *(spec for spec in each if spec.contender not in _IN_BULK)),
        repeats=scale.repeats(3),
        targets=targets,
    )


def limit(scale: Scale, store: Kind, title: str, count: int) -> Group:
    """Return what the machine can do at all, beside what tickwork does with it."""
    raw = Spec(workload="limits", contender="raw", store=store, count=scale.tasks(count))
    return Group(section=store, title=title, figure="per_s", specs=(raw,), repeats=scale.repeats(3))


def held(scale: Scale, store: Kind, *targets: Target) -> Iterator[Group]:
    """Yield the largest number of one-second tasks, within 50 ms and within a second.

    The targets are those of 50 ms.
    """
    floor = "floor" if store == "memory" else "bare"
    compared = tuple(
        Spec(workload="held", contender=each, store=store, seconds=scale.seconds(3))
        for each in scale.who((*_STORING[store], floor))
    )
    for figure, what in (("held_within_50_ms", "50 ms"), ("held_within_1_s", "1 s")):
        yield Group(
            section="steady",
            title=f"{_STORES[store]}, 99 % within {what}",
            figure=figure,
            specs=compared,
            repeats=1,
            targets=targets if figure == "held_within_50_ms" else (),
        )


_TAKING_PART = {
    "scans": ("tickwork",),
    "ready_s": ("tickwork", "apscheduler"),
    "cpu_percent": ("tickwork", "apscheduler"),
}


def million(scale: Scale, store: Kind, least: float) -> Iterator[Group]:
    """Yield what many stored tasks mean: ready, idle, and tasks a second among them."""
    count = scale.tasks(1_000_000)
    who = scale.who(("tickwork", "bare", "apscheduler"))
    compared = tuple(
        Spec(workload="million", contender=each, store=store, count=count, seconds=scale.seconds(3))
        for each in who
    )
    name = _STORES[store]
    figures = [
        ("ready_s", "ready", Target(most=0.5)),
        ("cpu_percent", "idle", Target(most=0.5)),
        ("scans", "statements of an idle one that scan its tasks", Target(most=0.0)),
        ("held_within_100_ms", "fired a second, 99 % within 100 ms", Target(least=least)),
    ]
    for figure, what, target in figures:
        if figure == "scans" and store == "redis":
            continue  # there is nobody to ask
        steady = figure == "held_within_100_ms"
        yield Group(
            section="million",
            title=f"{name}, {what}",
            figure=figure,
            specs=tuple(
                spec for spec in compared if spec.contender in _TAKING_PART.get(figure, who)
            ),
            repeats=1,
            more_is_better=steady,
            targets=(target,),
        )


def idle_in_memory(scale: Scale) -> Group:
    count = scale.tasks(1_000_000)
    spec = Spec(workload="idle", contender="tickwork", count=count, seconds=scale.seconds(8))
    return Group(
        section="million",
        title="memory, idle",
        figure="cpu_percent",
        specs=(spec,),
        repeats=1,
        more_is_better=False,
        targets=(Target(most=0.5),),
    )
