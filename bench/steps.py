"""The steps that a store makes for a scheduler, timed."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tickwork.interfaces import Store
from tickwork.model.steps import PlanReply, PlanRequest

__all__ = ["Step", "Steps"]

_LOOP = "tickwork-loop-"


@dataclass(slots=True)
class Step:
    """How often a step of the store was made, and how long all of them took.

    `beside_s` is what of the time passed in threads beside the loop's.
    """

    calls: int = 0
    clock_s: float = 0.0
    own_s: float = 0.0
    beside_s: float = 0.0


class Steps:
    """Times the steps that a store makes, from when it is told to begin."""

    def __init__(self) -> None:
        self.steps: defaultdict[str, Step] = defaultdict(Step)

    def watch(self, store: Store) -> None:
        """Time the steps of a store."""
        for name in ("plan", "lease", "finish"):
            setattr(store, name, self._timed(name, getattr(store, name)))

    def watch_decisions(self, store: Store) -> None:
        """Time, within the steps that plan, the decisions of the planner."""
        planning = store.plan

        def plan(request: PlanRequest) -> PlanReply:
            return planning(replace(request, decide=self._timed("decide", request.decide)))

        store.plan = plan  # type: ignore[method-assign]  # of this one object

    def _timed(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            clock_s, own_s = time.perf_counter(), time.thread_time()
            try:
                return step(*args)
            finally:
                noted = self.steps[name]
                noted.calls += 1
                took_s = time.perf_counter() - clock_s
                noted.clock_s += took_s
                if not threading.current_thread().name.startswith(_LOOP):
                    noted.beside_s += took_s
                noted.own_s += time.thread_time() - own_s

        return timed
