"""Making measurements: each in a process of its own, again where something else disturbed it.

What two repeats agree on isn't measured a third time; what is over within a moment, which may be a
bad one of the machine, is measured some times more. A run is bounded: on a machine that others
use all the time, repeating what was disturbed would double its time for nothing, so there is little
time for that (and none for what is measured once anyway); and when most of the time is used up,
what is left is measured once.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from bench.environments import environment_of
from bench.group import Group
from bench.machine import Watch
from bench.servers import Servers
from bench.spec import Spec

__all__ = ["QUIET", "Measured", "measure_all"]

QUIET = 0.25
"""Up to so much of one processor may be taken by others."""

_TIMEOUT_S = 300
_AGAIN_S = 120.0
"""How long all repetitions of what was disturbed may take together."""

_LONG_S = 20 * 60.0
"""After how long there are no more repeats."""

_AGREEMENT = 0.1

_SHORT_S = 0.1
_OFTEN = 7
"""How often a burst that is over sooner than that is measured."""


@dataclass(slots=True)
class Measured:
    """What came out of a spec: a result for each repeat, or why there is none.

    `others` is how much of a processor others took meanwhile, at each repeat.
    """

    spec: Spec
    results: list[dict[str, Any]] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    error: str | None = None

    def values(self, figure: str) -> list[float]:
        """Return a figure of all repeats, sorted."""
        return sorted(result[figure] for result in self.results)

    def median(self, figure: str) -> float:
        """Return the median of a figure."""
        return median(self.values(figure))

    @property
    def disturbed(self) -> bool:
        """Whether others were busy at one of the repeats."""
        return max(self.others, default=0.0) > QUIET

    def agreed(self, figure: str) -> bool:
        """Whether another repeat would tell nothing new."""
        values = self.values(figure)
        return len(values) > 1 and values[-1] - values[0] <= _AGREEMENT * values[-1]

    def short(self, figure: str) -> bool:
        """Whether this is a burst that was over within a moment."""
        burst = self.spec.workload == "burst" and bool(self.results)
        return burst and self.spec.count < _SHORT_S * self.median(figure)


class _Measuring:
    """Makes the measurements of a run."""

    def __init__(self, servers: Servers, folder: str) -> None:
        self._servers = servers
        self._folder = folder
        self._again_s = _AGAIN_S
        self._since = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """How long the run has taken so far."""
        return time.perf_counter() - self._since

    def suffices(self, measured: Measured, group: Group) -> bool:
        """Whether another repeat would tell nothing new, or take too long."""
        if measured.error is not None:
            return True
        done = len(measured.results)
        if group.repeats == 1 or self.elapsed_s > _LONG_S:
            return done > 0
        if measured.short(group.figure):
            return done >= _OFTEN
        return done >= group.repeats or measured.agreed(group.figure)

    def add(self, measured: Measured, *, again: bool) -> None:
        """Measure once more; with `again`, the less disturbed of two attempts counts."""
        found = self._watched(measured)
        if again and found is not None and found[1] > QUIET and self._again_s > 0:
            since = time.perf_counter()
            second = self._watched(measured)
            self._again_s -= time.perf_counter() - since
            found = second if second is None else min(found, second, key=lambda each: each[1])
        if found is not None:
            measured.results.append(found[0])
            measured.others.append(found[1])

    def _watched(self, measured: Measured) -> tuple[dict[str, Any], float] | None:
        """Return a result and what others did meanwhile; None where it failed."""
        try:
            server = self._servers.url(measured.spec.store)
            spec = replace(measured.spec, server=server, folder=self._folder)
            with Watch(self._servers.used_s) as watch:
                result = _result(spec)
        except (ImportError, FileNotFoundError) as error:
            measured.error = f"not there: {error}"
        except subprocess.TimeoutExpired:
            measured.error = f"not done within {_TIMEOUT_S} s"
        except subprocess.CalledProcessError as error:
            measured.error = (error.stderr.strip() or "?").splitlines()[-1]
        else:
            return result, watch.others or 0.0
        return None


def _result(spec: Spec) -> dict[str, Any]:
    command = [environment_of(spec.contender), "-m", "bench.child", spec.to_json()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure_all(
    groups: Iterable[Group],
    servers: Servers,
    folder: str,
    measured: Callable[[Group, dict[Spec, Measured]], None],
) -> dict[Spec, Measured]:
    """Measure what the groups ask for, contenders in turn, so that a drift meets all of them.

    Files are made in `folder`. `measured` is told of each group, with all results so far.
    """
    measuring = _Measuring(servers, folder)
    found: dict[Spec, Measured] = {}
    for group in groups:
        fresh = [Measured(spec) for spec in group.specs if spec not in found]
        found |= {each.spec: each for each in fresh}
        while left := [each for each in fresh if not measuring.suffices(each, group)]:
            for each in left:
                measuring.add(each, again=group.repeats > 1)
        minutes, seconds = divmod(int(measuring.elapsed_s), 60)
        for each in fresh:
            line = f"{minutes}:{seconds:02} {_progress(group, each)}"
            print(line, file=sys.stderr, flush=True)
        measured(group, found)
    return found


def _progress(group: Group, measured: Measured) -> str:
    who = f"{group.section}, {group.title}: {measured.spec.contender}"
    if measured.error is not None:
        return f"{who}: {measured.error}"
    others = ", ".join(f"{each:.0%}" for each in measured.others)
    return f"{who}: {measured.median(group.figure):,.6g} {group.figure} (others: {others})"
