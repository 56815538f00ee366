"""What is measured in a run: its sections, each with groups of specs that are compared."""

from collections.abc import Callable, Iterator, Mapping

from bench.contenders import Kind
from bench.group import Group
from bench.rows import (
    WORKS,
    Scale,
    adds,
    burst,
    bursts,
    idle,
    queues,
    restart,
    specs,
    steady,
)
from bench.spec import Spec

__all__ = ["SECTIONS", "groups"]


def groups(*, quick: bool, folder: str) -> Iterator[Group]:
    """Yield all groups; `quick` makes them small and measures each once."""
    scale = Scale(quick, folder)
    for section in SECTIONS.values():
        yield from section(scale)


def _cron(scale: Scale) -> Iterator[Group]:
    for zone in ("UTC", "Europe/Berlin"):
        specs = tuple(
            Spec(workload="cron", contender=each, zone=zone)
            for each in ("tickwork", "croniter", "apscheduler")
        )
        for figure, what in (("step_us", "median of 20"), ("sparse_us", "`0 0 29 2 *`")):
            yield Group(
                section="cron",
                title=f"next fire time, {what}, {zone}",
                figure=figure,
                specs=specs,
                repeats=scale.repeats(3),
                more_is_better=False,
                factor=10.0,
                rival="croniter",
            )


def _memory(scale: Scale) -> Iterator[Group]:
    for work in WORKS:
        wanted = {100_000: 2.5 if work == "coroutine" else 2.0}
        for count in (1_000, 10_000, 100_000):
            yield burst(scale, "memory", work, count, factor=wanted.get(count))
    yield from adds(scale, "memory", one=10_000, bulk=100_000)
    yield idle(scale, "memory")
    yield steady(scale, "memory", 5_000, 20)


def _sqlite(scale: Scale) -> Iterator[Group]:
    yield restart(scale)
    yield idle(scale, "sqlite")
    yield from bursts(scale, "sqlite", factor=8.0, rival="apscheduler")
    yield from adds(scale, "sqlite", one=1_000, bulk=20_000)
    yield steady(scale, "sqlite", 500, 20)


def _postgresql(scale: Scale) -> Iterator[Group]:
    yield from bursts(scale, "postgresql", factor=6.0)
    yield from adds(scale, "postgresql", one=1_000, bulk=20_000, bulk_factor=4.0)
    yield steady(scale, "postgresql", 200, 10)


def _redis(scale: Scale) -> Iterator[Group]:
    yield from bursts(scale, "redis", factor=4.0)
    yield from adds(scale, "redis", one=1_000, bulk=20_000)
    yield steady(scale, "redis", 500, 10)


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
        ("ratio", "two nodes to one"),
    ):
        yield Group(
            section="nodes",
            title=f"{count:,} tasks of 5 ms sleep, ten slots a node, {what}",
            figure=figure,
            specs=compared,
            repeats=scale.repeats(3),
            least=1.6 if figure == "ratio" else None,
        )


def _planning(scale: Scale) -> Iterator[Group]:
    many = scale.tasks(1_000_000)
    stores: tuple[Kind, ...] = ("sqlite", "postgresql", "redis")
    for store in stores:
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
                most=2.0 if figure == "ratio" else None,
            )


SECTIONS: Mapping[str, Callable[[Scale], Iterator[Group]]] = {
    "cron": _cron,
    "memory": _memory,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "redis": _redis,
    "nodes": _nodes,
    "planning": _planning,
    "file": _file,
}
