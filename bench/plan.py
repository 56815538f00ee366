"""What is measured in a run: its sections, each with groups of specs that are compared."""

from collections.abc import Callable, Iterator, Mapping

from bench.contenders import Kind
from bench.group import Group, Target
from bench.rows import (
    WORKS,
    Scale,
    adds,
    burst,
    bursts,
    held,
    idle_in_memory,
    limit,
    million,
    queues,
    specs,
)
from bench.spec import Spec

__all__ = ["SECTIONS", "groups"]

_SERVED: tuple[Kind, ...] = ("sqlite", "postgresql", "redis")
_WRITTEN = "raw limit: what {runs:,} runs need written, in batches of 1,000"


def groups(*, quick: bool) -> Iterator[Group]:
    """Yield all groups; `quick` makes them small and measures each once."""
    scale = Scale(quick)
    for section in SECTIONS.values():
        yield from section(scale)


def _cron(scale: Scale) -> Iterator[Group]:
    for zone, most in (("UTC", 3.0), ("Europe/Berlin", 8.0)):
        compared = tuple(
            Spec(workload="cron", contender=each, zone=zone)
            for each in ("tickwork", "croniter", "apscheduler")
        )
        for figure, what in (("step_us", "median of 20"), ("sparse_us", "`0 0 29 2 *`")):
            yield Group(
                section="cron",
                title=f"next fire time, {what}, {zone}",
                figure=figure,
                specs=compared,
                repeats=scale.repeats(3),
                more_is_better=False,
                targets=(Target(most=most), Target(times=10.0, rival="croniter")),
            )


def _import(scale: Scale) -> Iterator[Group]:
    everybody = (
        "tickwork",
        "apscheduler",
        "apscheduler4",
        "asyncz",
        "huey",
        "procrastinate",
        "rq",
    )
    compared = tuple(
        Spec(workload="importing", contender=each, count=1 if scale.quick else 9)
        for each in everybody
    )
    for figure, title, who, targets in (
        ("import_ms", "`import tickwork`", compared[:1], (Target(most=150.0),)),
        (
            "drivers",
            "store drivers imported by that, and by a scheduler in memory",
            compared[:1],
            (Target(most=0.0),),
        ),
        ("ready_ms", "import and make a scheduler, nothing opened", compared, ()),
    ):
        yield Group(
            section="import",
            title=title,
            figure=figure,
            specs=who,
            repeats=1,
            more_is_better=False,
            targets=targets,
        )


def _memory(scale: Scale) -> Iterator[Group]:
    wanted = {
        "coroutine": (Target(times=3.5), Target(times=0.75, rival="floor")),
        "thread": (Target(times=3.0),),
    }
    for work in WORKS:
        for count in (1_000, 10_000, 100_000):
            targets = wanted[work] if count == 100_000 else ()
            yield burst(scale, "memory", work, count, *targets)
    yield limit(scale, "memory", "raw limit: hand-overs from one thread to twenty", 1_000_000)
    yield from adds(scale, "memory", Target(least=100_000.0), one=10_000, bulk=100_000)
    yield from _bytes(scale)


def _bytes(scale: Scale) -> Iterator[Group]:
    for figure, title, count, runs in (
        ("task_bytes", "memory for each stored task", 50_000, False),
        ("run_bytes", "memory for each run in flight", 5_000, True),
    ):
        who = ("tickwork", "apscheduler", "apscheduler4", "asyncz")
        # APScheduler 4 has no more than a hundred in flight.
        compared = tuple(
            Spec(
                workload="memory",
                contender=each,
                count=min(scale.tasks(count), 5_000 if each != "tickwork" else count),
                bulk=runs,
            )
            for each in who
            if not (runs and each == "apscheduler4")
        )
        yield Group(
            section="memory",
            title=title,
            figure=figure,
            specs=compared,
            repeats=1,
            more_is_better=False,
        )


def _sqlite(scale: Scale) -> Iterator[Group]:
    yield from bursts(scale, "sqlite", Target(times=10.0))
    yield limit(scale, "sqlite", _WRITTEN.format(runs=scale.tasks(20_000)), 20_000)
    yield from adds(scale, "sqlite", Target(least=40_000.0), one=1_000, bulk=20_000)


def _postgresql(scale: Scale) -> Iterator[Group]:
    yield from bursts(scale, "postgresql", Target(least=8_000.0), Target(times=6.0))
    yield limit(scale, "postgresql", _WRITTEN.format(runs=scale.tasks(20_000)), 20_000)
    targets = (Target(least=20_000.0), Target(times=4.0, rival="procrastinate"))
    yield from adds(scale, "postgresql", *targets, one=1_000, bulk=20_000)


def _redis(scale: Scale) -> Iterator[Group]:
    yield from bursts(scale, "redis", Target(least=20_000.0), Target(times=6.0))
    yield limit(scale, "redis", _WRITTEN.format(runs=scale.tasks(20_000)), 20_000)
    yield from adds(scale, "redis", Target(least=30_000.0), one=1_000, bulk=20_000)


def _file(scale: Scale) -> Iterator[Group]:
    yield from bursts(scale, "file")
    yield from adds(scale, "file", one=1_000, bulk=10_000)


def _nodes(scale: Scale) -> Iterator[Group]:
    count = scale.tasks(10_000)
    who = ("tickwork", *queues("postgresql", "thread"))
    compared = specs(scale, "nodes", who, store="postgresql", count=10_000, work="thread")
    for figure, what in (
        ("one_per_s", "one node"),
        ("two_per_s", "two nodes"),
        ("four_per_s", "four nodes"),
        ("ratio", "two nodes to one"),
        ("four_ratio", "four nodes to one"),
    ):
        yield Group(
            section="nodes",
            title=f"{count:,} tasks of 5 ms sleep, ten slots a node, {what}",
            figure=figure,
            specs=compared,
            repeats=scale.repeats(2),
            targets=(Target(least=1.8),) if figure == "ratio" else (),
        )


def _handover(scale: Scale) -> Iterator[Group]:
    told = Target(most=5.0)
    for store, who, title, target in (
        ("postgresql", ("apscheduler4", "huey", "procrastinate", "raw"), "PostgreSQL, told", told),
        ("redis", ("huey", "rq"), "Redis, told", told),
        ("sqlite", ("huey",), "SQLite, looking every 0.8 s", Target(most=800.0)),
    ):
        kind: Kind = store  # type: ignore[assignment]  # one of the three above
        compared = tuple(
            Spec(
                workload="handover",
                contender=each,
                store=kind,
                work="thread",
                count=scale.tasks(200),
            )
            for each in ("tickwork", *who)
        )
        for figure in ("p50_ms", "p99_ms"):
            yield Group(
                section="handover",
                title=f"{title}, {figure[:3]}",
                figure=figure,
                specs=compared,
                repeats=1,
                more_is_better=False,
                targets=(target,) if figure == "p50_ms" else (),
            )


def _catchup(scale: Scale) -> Iterator[Group]:
    count = scale.tasks(10_000)
    for store in _SERVED:
        yield Group(
            section="catchup",
            title=f"{count:,} one-second tasks, {store}",
            figure="caught_up_s",
            specs=(Spec(workload="catchup", contender="tickwork", store=store, count=count),),
            repeats=scale.repeats(2),
            more_is_better=False,
        )


def _split(scale: Scale) -> Iterator[Group]:
    stores: tuple[Kind, ...] = ("memory", *_SERVED)
    for store in stores:
        count = scale.tasks(100_000 if store == "memory" else 10_000)
        yield Group(
            section="split",
            title=f"burst of {count:,}, coroutines, {store}",
            figure="run_us",
            specs=(Spec(workload="split", contender="tickwork", store=store, count=count),),
            repeats=scale.repeats(2),
            more_is_better=False,
        )


def _steady(scale: Scale) -> Iterator[Group]:
    yield from held(scale, "memory", Target(least=25_000.0))
    for store in _SERVED:
        yield from held(scale, store)


def _million(scale: Scale) -> Iterator[Group]:
    yield idle_in_memory(scale)
    for store in _SERVED:
        yield from million(scale, store, 4_000.0 if store == "postgresql" else 8_000.0)


def _planning(scale: Scale) -> Iterator[Group]:
    many = scale.tasks(1_000_000)
    for store in _SERVED:
        spec = Spec(workload="planning", contender="tickwork", store=store, count=many)
        for figure, what in (
            ("few_ms", f"{many // 100:,} stored"),
            ("many_ms", f"{many:,} stored"),
            ("ratio", f"{many:,} to {many // 100:,}"),
        ):
            yield Group(
                section="planning",
                title=f"a batch of {many // 1_000:,}, {store}, {what}",
                figure=figure,
                specs=(spec,),
                repeats=1,
                more_is_better=False,
                targets=(Target(most=2.0),) if figure == "ratio" else (),
            )


def _service(scale: Scale) -> Iterator[Group]:
    count = scale.tasks(100_000)
    for store in ("sqlite", "postgresql"):
        yield Group(
            section="service",
            title=f"slowest page or list, {count:,} tasks and {10 * count:,} runs, {store}",
            figure="p95_ms",
            specs=(Spec(workload="pages", contender="tickwork", store=store, count=count),),
            repeats=1,
            more_is_better=False,
            targets=(Target(most=200.0),),
        )


SECTIONS: Mapping[str, Callable[[Scale], Iterator[Group]]] = {
    "cron": _cron,
    "import": _import,
    "memory": _memory,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "redis": _redis,
    "nodes": _nodes,
    "handover": _handover,
    "catchup": _catchup,
    "split": _split,
    "steady": _steady,
    "million": _million,
    "planning": _planning,
    "file": _file,
    "service": _service,
}
