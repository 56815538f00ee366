"""From executors back to the loops: each outcome goes to the loop that leased its run."""

from collections.abc import Callable, Sequence
from typing import cast

from tickwork.model.jobs import Outcome
from tickwork.scheduler.held import Held

__all__ = ["dispatcher"]


def dispatcher(freed: Callable[[int], None]) -> Callable[[Sequence[Outcome]], None]:
    """Return the `report` of an executor's environment; `freed` is told how many of each."""

    def report(outcomes: Sequence[Outcome]) -> None:
        holding = None
        for outcome in outcomes:
            other = cast("Held", outcome.job).holding
            if other is not holding:
                if holding is not None:
                    holding.wake.set()
                holding = other
            holding.inbox.append(outcome)
        if holding is not None and not (holding.rests or holding.wake.is_set()):
            holding.wake.set()
        freed(len(outcomes))

    return report
