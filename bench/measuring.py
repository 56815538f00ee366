"""Making measurements: each in a process of its own, again where something else disturbed it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.machine import Watch
from bench.plan import Group
from bench.spec import Spec

__all__ = ["Measured", "measure_all"]

_TIMEOUT_S = 600
_QUIET = 0.25
"""Up to so much of one processor may be taken by others."""

_ATTEMPTS = 2


@dataclass(slots=True)
class Measured:
    """What came out of a spec: a result for each repeat, or why there is none."""

    spec: Spec
    results: list[dict[str, Any]] = field(default_factory=list)
    others: float = 0.0
    error: str | None = None

    def values(self, figure: str) -> list[float]:
        """Return a figure of all repeats, sorted."""
        return sorted(result[figure] for result in self.results)

    def median(self, figure: str) -> float:
        """Return the median of a figure."""
        return median(self.values(figure))

    def add(self) -> None:
        """Measure once more; the least disturbed of some attempts counts."""
        best: dict[str, Any] | None = None
        least = float("inf")
        for _ in range(_ATTEMPTS):
            with Watch() as watch:
                result = self._measure()
            if result is None:
                return
            others = watch.others or 0.0
            if others < least:
                best, least = result, others
            if others <= _QUIET:
                break
        assert best is not None
        self.results.append(best)
        self.others = max(self.others, least)

    def _measure(self) -> dict[str, Any] | None:
        command = [sys.executable, "-m", "bench.child", self.spec.to_json()]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
            )
        except subprocess.TimeoutExpired:
            self.error = f"not done within {_TIMEOUT_S} s"
        except subprocess.CalledProcessError as error:
            self.error = (error.stderr.strip() or "?").splitlines()[-1]
        else:
            result: dict[str, Any] = json.loads(done.stdout)
            return result
        return None


def measure_all(
    groups: Iterable[Group], measured: Callable[[Group, dict[Spec, Measured]], None]
) -> dict[Spec, Measured]:
    """Measure what the groups ask for, contenders in turn, so that a drift meets all of them.

    `measured` is told of each group, with all results so far.
    """
    found: dict[Spec, Measured] = {}
    for group in groups:
        fresh = [spec for spec in group.specs if spec not in found]
        found |= {spec: Measured(spec) for spec in fresh}
        for _ in range(group.repeats):
            for spec in fresh:
                if found[spec].error is None:
                    found[spec].add()
        for spec in fresh:
            print(_progress(group, found[spec]), file=sys.stderr, flush=True)
        measured(group, found)
    return found


def _progress(group: Group, measured: Measured) -> str:
    who = f"{group.title}: {measured.spec.contender}"
    if measured.error is not None:
        return f"{who}: {measured.error}"
    return f"{who}: {measured.median(group.figure):,.6g} {group.figure}"
