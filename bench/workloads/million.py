"""Many stored tasks, nearly all of them due much later: ready, idle, and steady among them.

The store is filled once (see `fill`); then each part is a process of its own: first `restart`, then
`idle`, then the search of `held` among the stored tasks.
"""

from dataclasses import replace
from typing import Any

from bench.spec import Spec
from bench.workloads.held import searched
from bench.workloads.stage import fresh_store, in_child

__all__ = ["measure"]

_IDLE_S = 5


def measure(spec: Spec) -> dict[str, Any]:
    """Return seconds until ready, percent of a processor when idle, and tasks a second held."""
    with fresh_store(spec) as setup:
        stored = replace(spec, place=setup.place)
        in_child(replace(stored, workload="fill"))
        found: dict[str, Any] = {}
        if spec.contender != "bare":
            found |= in_child(replace(stored, workload="restart"))
            found |= in_child(replace(stored, workload="idle", seconds=max(spec.seconds, _IDLE_S)))
        return found | searched(stored, ("within_100_ms",))
