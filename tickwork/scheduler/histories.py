"""Forgetting runs: those that are too old, and those of which a task has too many."""

from collections.abc import Iterable
from itertools import islice

from tickwork.interfaces import Store
from tickwork.model.policies import Keep, RunState
from tickwork.model.records import RunRecord
from tickwork.model.steps import PruneRequest
from tickwork.scheduler.held import Held

__all__ = ["Histories"]

_ALL = Keep.ALL


class Histories:
    """The tasks of which there may be too much history; durations in microseconds."""

    def __init__(
        self, store: Store, *, max_history: int, result_ttl_us: int, prune_us: int, batch: int
    ) -> None:
        self._store = store
        self._max_history = max_history
        self._result_ttl_us = result_ttl_us
        self._prune_us = prune_us
        self._batch = batch
        self._kept: dict[str, int] = {}
        self._looked_at: dict[str, int] = {}
        self._planned: dict[str, int] = {}
        self._pruned_at_us = 0
        self._expires_until_us = 0

    def note(self, task_id: str, keep: int | None) -> None:
        """Note that a run of a task is over, of which so many are kept; None for the default."""
        self._kept[task_id] = self._max_history if keep is None else keep

    def note_planned(self, task_id: str, keep: int | None) -> None:
        """Note how many runs are kept of a task that is being planned."""
        self._planned[task_id] = self._max_history if keep is None else keep

    def note_recorded(self, runs: Iterable[RunRecord]) -> None:
        """Note the runs that were over as soon as they were planned."""
        for run in runs:
            if run.state is not RunState.PENDING:
                self._kept[run.task_id] = self._planned[run.task_id]
        self._planned.clear()

    def note_ended(self, ended: Iterable[Held], now_us: int) -> None:
        """Note the runs that have ended, of tasks that run again and again."""
        for held in ended:
            definition = held.definition
            if definition.keep is not _ALL or definition.result_ttl_us is not None:
                expires_us = now_us + (definition.result_ttl_us or 0) + self._prune_us
                self._expires_until_us = max(self._expires_until_us, expires_us)
            if not definition.disposable:
                self.note(held.task_id, definition.max_history)

    def is_due(self, now_us: int) -> bool:
        """Whether it is time to forget something."""
        return now_us - self._pruned_at_us >= self._prune_us

    def next_us(self) -> int | None:
        """Return when there is something to forget."""
        if self._looked_at or self._kept or self._expires_until_us > self._pruned_at_us:
            return self._pruned_at_us + self._prune_us
        return None

    def prune(self, now_us: int) -> bool:
        """Forget one piece, so that the loop never waits long; return whether there is more."""
        if not self._looked_at:
            # Of what ends from now on, the next time: else there might never be an end.
            self._looked_at, self._kept = self._kept, {}
        names = list(islice(self._looked_at, self._batch))
        piece = {name: self._looked_at[name] for name in names}
        request = PruneRequest(piece, now_us - self._result_ttl_us, self._batch, now_us)
        if self._store.prune(request) >= self._batch:
            return True
        for name in names:
            del self._looked_at[name]
        if not self._looked_at:
            self._pruned_at_us = now_us
        return False
