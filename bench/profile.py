"""Where the time goes in tickwork's bursts: `python -m bench --profile NAME`.

First a burst whose steps of the store are timed, by the clock and by the processor time of the
thread that makes them; the rest of the clock's time is waiting, for the server or for the
interpreter lock. Then one under cProfile. Each thread is profiled on its own (the loop over the
store, the event loop, the workers together), by the processor time of that thread: in a burst they
take turns with one interpreter lock, and waiting for it is nobody's work. cProfile makes small
calls dear, so the shares are to be read, not the seconds.
"""

import asyncio
import cProfile
import pstats
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

from bench.contenders import Kind, Work
from bench.contenders.tickwork import Tickwork
from bench.servers import Servers
from bench.spec import Spec
from bench.steps import Steps
from bench.workloads.burst import begin, end
from bench.workloads.stage import fresh_store

__all__ = ["BURSTS", "print_profile"]

_NUMBERS: Mapping[Kind, int] = {
    "memory": 100_000,
    "sqlite": 10_000,
    "postgresql": 10_000,
    "redis": 10_000,
    "file": 10_000,
}

_ENDINGS: Mapping[Work, str] = {"coroutine": "", "thread": "-threads"}

BURSTS = {
    f"{store}{ending}": Spec(
        workload="burst", contender="tickwork", store=store, work=work, count=number
    )
    for store, number in _NUMBERS.items()
    for work, ending in _ENDINGS.items()
}

_LINES = 25
_WORTH_S = 0.1
_OURS = "asyncio"
"""The thread that waits for the end and reads the records: no part of the burst."""


class _Threads:
    """A profile for each thread that begins meanwhile, by the name of the thread."""

    def __init__(self) -> None:
        self.profiles: list[tuple[str, cProfile.Profile]] = []
        self._run = threading.Thread.run

    def __enter__(self) -> Self:
        def run(thread: threading.Thread) -> None:
            profile = cProfile.Profile(time.thread_time)
            self.profiles.append((thread.name.rstrip("-_0123456789"), profile))
            profile.runcall(self._run, thread)

        threading.Thread.run = run  # type: ignore[assignment, method-assign]  # while we profile
        return self

    def __exit__(self, *_: object) -> None:
        threading.Thread.run = self._run  # type: ignore[method-assign]  # as it was

    def stats(self) -> dict[str, pstats.Stats]:
        """Return what was measured, threads of a kind together."""
        kinds: defaultdict[str, list[cProfile.Profile]] = defaultdict(list)
        for name, profile in self.profiles:
            kinds[name].append(profile)
        return {name: pstats.Stats(*profiles) for name, profiles in kinds.items()}


def print_profile(name: str, lines: int = _LINES) -> None:
    """Print what a burst spends in the steps of the store, and in functions, for each thread."""
    with Servers() as servers:
        spec = replace(BURSTS[name], server=servers.url(BURSTS[name].store))
        _print_steps(name, spec, servers)
        _print_functions(spec, lines)


def _print_steps(name: str, spec: Spec, servers: Servers) -> None:
    steps = Steps()
    before_s = 0.0

    def ready() -> None:
        nonlocal before_s
        steps.steps.clear()
        before_s = servers.used_s()

    result = asyncio.run(_burst(spec, ready, steps))
    print(f"== {name}: {spec.count:,} runs, {result['per_s']:,.0f} a second")
    print(f"\n{spec.count / result['per_s']:.3f} s by the clock, of which in the store:")
    for step, noted in steps.steps.items():
        print(
            f"  {step:6} {noted.calls:4} calls {noted.clock_s:7.3f} s, "
            f"{noted.own_s:.3f} s of them at work"
        )
    if spec.server is not None:
        print(f"  the server worked for {servers.used_s() - before_s:.2f} s")


def _print_functions(spec: Spec, lines: int) -> None:
    event_loop = cProfile.Profile(time.thread_time)
    with _Threads() as threads:
        threads.profiles.append(("event loop", event_loop))
        result = asyncio.run(_burst(spec, event_loop.enable))
        event_loop.disable()
    print(f"\n{result['per_s']:,.0f} a second while profiled")
    stats = {thread: each for thread, each in threads.stats().items() if thread != _OURS}
    for thread, each in sorted(stats.items(), key=lambda item: -_total_s(item[1])):
        if _total_s(each) > _WORTH_S:
            print(f"\n-- thread {thread}: {_total_s(each):.2f} s of processor time")
            each.sort_stats("tottime").print_stats(lines)


async def _burst(
    spec: Spec, ready: Callable[[], object], steps: Steps | None = None
) -> dict[str, Any]:
    """Make a burst; call `ready` on this loop, just before the clock starts."""
    made = Tickwork()
    if steps is not None:
        made.watchers.append(steps.watch)
    with fresh_store(spec) as setup:
        started_at = begin(made, spec, setup, ready)
        return await asyncio.to_thread(end, made, spec, started_at)


def _total_s(stats: pstats.Stats) -> float:
    total: float = stats.total_tt  # type: ignore[attr-defined]  # not in the stubs
    return total
