"""From executors back to the loops: each outcome goes to the loop that leased its run."""

from collections.abc import Callable, Sequence

from tickwork.model.jobs import Outcome
from tickwork.scheduler.held import Held

__all__ = ["dispatcher"]


def dispatcher() -> Callable[[Sequence[Outcome]], None]:
    """Return the `report` of an executor's environment."""

    def report(outcomes: Sequence[Outcome]) -> None:
        loop = None
        for outcome in outcomes:
            held: Held = outcome.job.lease
            if held.loop is not loop:
                if loop is not None:
                    loop.wake.set()
                loop = held.loop
            loop.receive(outcome)
        if loop is not None and not loop.wake.is_set():
            loop.wake.set()

    return report
