"""What is measured in a run: groups of specs that are compared with each other."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.contenders import Work
from bench.spec import Spec

__all__ = ["NAMES", "Group", "groups"]

NAMES = ("adds", "burst", "steady", "idle", "restart", "cron")

_STORING = ("tickwork", "apscheduler", "asyncz")
_ALL = (*_STORING, "floor")
_WORKS: tuple[Work, Work] = ("coroutine", "thread")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One row of the results: a figure, who is compared in it, and what is to be reached.

    `factor` is the wanted ratio to the best peer (or to croniter), `limit` the most that is wanted.
    """

    workload: str
    title: str
    figure: str
    specs: tuple[Spec, ...]
    repeats: int
    more_is_better: bool = True
    factor: float | None = None
    rival: str | None = None
    limit: float | None = None


def groups(*, quick: bool, folder: str) -> Iterator[Group]:
    """Yield all groups; `quick` makes them small and measures each once."""
    shrink = 10 if quick else 1
    repeats = 1 if quick else 3
    # What has targets comes first.
    yield from _cron(repeats)
    yield from _restart(100_000 // shrink, repeats, folder)
    yield from _idle(100_000 // shrink, 3 if quick else 10, folder)
    yield from _bursts(shrink, repeats)
    yield from _adds(shrink, repeats)
    yield from _steady(5 if quick else 20, quick=quick)


def _adds(shrink: int, repeats: int) -> Iterator[Group]:
    for store, count, bulk in (("memory", 10_000, 100_000), ("sqlite", 1_000, 20_000)):
        one, many = count // shrink, bulk // shrink
        yield Group(
            workload="adds",
            title=f"add {one:,} one by one, {store}",
            figure="per_s",
            specs=tuple(
                Spec(workload="adds", contender=each, store=store, count=one) for each in _STORING
            ),
            repeats=repeats,
        )
        yield Group(
            workload="adds",
            title=f"add {many:,} in bulk, {store}",
            figure="per_s",
            specs=(
                Spec(workload="adds", contender="tickwork", store=store, count=many, bulk=True),
            ),
            repeats=repeats,
        )


def _bursts(shrink: int, repeats: int) -> Iterator[Group]:
    for work in _WORKS:
        wanted = {100_000: 2.5 if work == "coroutine" else 2.0}
        for count in (1_000, 10_000, 100_000):
            yield _burst("memory", work, count // shrink, repeats=repeats, factor=wanted.get(count))
    for work in _WORKS:
        for count in (1_000, 10_000):
            yield _burst("sqlite", work, count // shrink, repeats=repeats, factor=8.0)


def _burst(store: str, work: Work, count: int, *, repeats: int, factor: float | None) -> Group:
    who = _ALL if store == "memory" else _STORING
    return Group(
        workload="burst",
        title=f"burst of {count:,}, {store}, {work}s",
        figure="per_s",
        specs=tuple(
            Spec(workload="burst", contender=each, store=store, work=work, count=count)
            for each in who
        ),
        repeats=repeats,
        factor=factor,
        rival="apscheduler",
    )


def _steady(seconds: int, *, quick: bool) -> Iterator[Group]:
    counts = {"memory": (100, 1_000, 5_000), "sqlite": (100, 500, 1_000)}
    for store, numbers in counts.items():
        for count in numbers[: 1 if quick else None]:
            who = _ALL if store == "memory" else _STORING
            yield Group(
                workload="steady",
                title=f"steady, {count:,} one-second tasks, {store}",
                figure="on_time_percent",
                specs=tuple(
                    Spec(
                        workload="steady", contender=each, store=store, count=count, seconds=seconds
                    )
                    for each in who
                ),
                repeats=1,
            )


def _idle(count: int, seconds: int, folder: str) -> Iterator[Group]:
    for store in ("memory", "sqlite"):
        yield Group(
            workload="idle",
            title=f"idle with {count:,} tasks, {store}",
            figure="cpu_percent",
            specs=tuple(
                Spec(
                    workload="idle",
                    contender=each,
                    store=store,
                    count=count,
                    seconds=seconds,
                    folder=folder,
                )
                for each in _STORING
            ),
            repeats=1,
            more_is_better=False,
            limit=1.0,
        )


def _restart(count: int, repeats: int, folder: str) -> Iterator[Group]:
    yield Group(
        workload="restart",
        title=f"ready with {count:,} stored tasks, sqlite",
        figure="ready_s",
        specs=tuple(
            Spec(workload="restart", contender=each, store="sqlite", count=count, folder=folder)
            for each in _STORING
        ),
        repeats=repeats,
        more_is_better=False,
        limit=0.5,
    )


def _cron(repeats: int) -> Iterator[Group]:
    for zone in ("UTC", "Europe/Berlin"):
        specs = tuple(
            Spec(workload="cron", contender=each, zone=zone)
            for each in ("tickwork", "croniter", "apscheduler")
        )
        for figure, what in (("step_us", "median of 20"), ("sparse_us", "`0 0 29 2 *`")):
            yield Group(
                workload="cron",
                title=f"cron, next fire time, {what}, {zone}",
                figure=figure,
                specs=specs,
                repeats=repeats,
                more_is_better=False,
                factor=10.0,
                rival="croniter",
            )
