"""What a run costs in a burst, in microseconds, by what it is spent on.

By the clock of the loop's thread: deciding about a task (planning), the steps of the store around
that (plan and lease), its steps that write what ended (finish), and the rest: handing over,
executing, collecting outcomes, and waiting for the interpreter lock. The store's and the planner's
parts contain such waiting too. Timing each decision costs something, so the sum is more than
without. Where a server does the work, ends are written beside the rest, by another thread: what of
finish is `beside` is no part of the sum.
"""

from typing import Any

from bench.contenders.tickwork import Tickwork
from bench.spec import Spec
from bench.steps import Steps
from bench.workloads.burst import begin, end
from bench.workloads.stage import fresh_store, on_stage

__all__ = ["measure"]


def measure(spec: Spec) -> dict[str, Any]:
    """Return microseconds a run for each part."""
    steps = Steps()

    def start(made: Any) -> float:
        assert isinstance(made, Tickwork)
        made.watchers += [steps.watch_decisions, steps.watch]
        return begin(made, spec, setup, steps.steps.clear)

    with fresh_store(spec) as setup:
        result = on_stage(spec, start, lambda made, since: end(made, spec, since))
    return _parts(steps, spec.count, 1e6 / result["per_s"])


def _parts(steps: Steps, count: int, total_us: float) -> dict[str, Any]:
    def us(step: str) -> float:
        return 1e6 * steps.steps[step].clock_s / count

    planning_us, finish_us = us("decide"), us("finish")
    store_us = us("plan") + us("lease") - planning_us
    beside_us = 1e6 * steps.steps["finish"].beside_s / count
    return {
        "planning_us": planning_us,
        "store_us": store_us,
        "finish_us": finish_us,
        "beside_us": beside_us,
        "handover_us": total_us - planning_us - store_us - (finish_us - beside_us),
        "run_us": total_us,
    }
