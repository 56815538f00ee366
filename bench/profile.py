"""Where the time goes in tickwork's bursts: `python -m bench --profile NAME`.

Each thread is profiled on its own (the loop over the store, the event loop, the workers together),
by the processor time of that thread: in a burst they take turns with one interpreter lock, and
waiting for it is nobody's work. cProfile makes small calls dear, so the shares are to be read, not
the seconds.
"""

import asyncio
import cProfile
import pstats
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Self

from bench.contenders import contender
from bench.spec import Spec
from bench.workloads.burst import begin, end
from bench.workloads.stage import database

__all__ = ["BURSTS", "print_profile"]

BURSTS = {
    "memory": Spec(workload="burst", contender="tickwork", count=100_000),
    "threads": Spec(workload="burst", contender="tickwork", work="thread", count=100_000),
    "sqlite": Spec(workload="burst", contender="tickwork", store="sqlite", count=10_000),
    "sqlite-threads": Spec(
        workload="burst", contender="tickwork", store="sqlite", work="thread", count=10_000
    ),
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
    """Print the functions that take most of the time in a burst, for each thread."""
    spec = BURSTS[name]
    with database(spec) as file, _Threads() as threads:
        result = asyncio.run(_burst(spec, file, threads))
    print(f"== {name}: {spec.count:,} runs, {result['per_s']:,.0f} a second while profiled")
    stats = {thread: each for thread, each in threads.stats().items() if thread != _OURS}
    for thread, each in sorted(stats.items(), key=lambda item: -_total_s(item[1])):
        if _total_s(each) > _WORTH_S:
            print(f"\n-- thread {thread}: {_total_s(each):.2f} s of processor time")
            each.sort_stats("tottime").print_stats(lines)


async def _burst(spec: Spec, file: Path | None, threads: _Threads) -> dict[str, Any]:
    """Make a burst; the thread of this loop is profiled from its beginning."""
    made = contender(spec.contender)
    profile = cProfile.Profile(time.thread_time)
    threads.profiles.append(("event loop", profile))
    started_at = begin(made, spec, file, profile.enable)
    result = await asyncio.to_thread(end, made, spec, started_at)
    profile.disable()
    return result


def _total_s(stats: pstats.Stats) -> float:
    total: float = stats.total_tt  # type: ignore[attr-defined]  # not in the stubs
    return total
