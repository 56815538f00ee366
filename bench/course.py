"""The course of a run: what is done, what isn't yet, and what else went on meanwhile."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from bench.group import Group
from bench.measuring import QUIET, Measured
from bench.spec import Spec

__all__ = ["Course"]


class Course:
    """Which groups of a run are done, with the results so far."""

    def __init__(self, planned: Sequence[Group], *, complete: bool) -> None:
        self.groups: list[Group] = []
        self.results: dict[Spec, Measured] = {}
        self._planned = len(planned)
        self._complete = complete
        self._begun = datetime.now(UTC)
        self._since = time.perf_counter()

    def done(self, group: Group, results: dict[Spec, Measured]) -> None:
        """Note that a group is done."""
        self.groups.append(group)
        self.results = results

    def sentences(self) -> str:
        """Say how far the run has come, and how quiet the machine was."""
        minutes = (time.perf_counter() - self._since) / 60
        done = len(self.groups)
        extent = f"{done} rows in {minutes:.0f} minutes from {self._begun:%Y-%m-%d %H:%M} UTC"
        if not self._complete:
            extent = f"**Not a complete run**, but one of some groups or small: {extent}"
        elif done < self._planned:
            extent = f"**Not a complete run**, but interrupted, or not done yet: {extent}"
        else:
            extent = f"One complete run: {extent}"
        return f"{extent}. {self._rest()}"

    def _rest(self) -> str:
        others = [share for each in self.results.values() for share in each.others]
        if not others:
            return "Nothing could be measured."
        busy = sum(share > QUIET for share in others)
        return (
            f"What else went on: others took {median(others):.0%} of a processor at the median of "
            f"{len(others)} measurements, {max(others):.0%} at most; {busy} of them were made "
            f"while it was more than {QUIET:.0%}."
        )
