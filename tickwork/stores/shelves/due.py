"""When the tasks that are held in memory are due.

Tasks that are added together are often due together, so each instant is kept once, with those that
are due at it. Numbers and texts are nothing that the garbage collector follows, and numbers are
compared quickly.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

__all__ = ["DueTimes"]


class DueTimes:
    """Ids of tasks by the instant at which they are due; those of an instant as they came."""

    def __init__(self) -> None:
        self._instants: list[int] = []
        self._ids: dict[int, str | deque[str]] = {}

    def add(self, due_us: int, task_id: str) -> None:
        """Have a task be due at an instant, also if it is due at others."""
        there = self._ids.get(due_us)
        if there is None:
            self._ids[due_us] = task_id
            heappush(self._instants, due_us)
        elif isinstance(there, str):
            # Most instants have a single task, which needs no queue of its own.
            self._ids[due_us] = deque((there, task_id))
        else:
            there.append(task_id)

    def first(self) -> tuple[int, str] | None:
        """Return the first instant and the first task that is due then; None where none is."""
        if not self._instants:
            return None
        due_us = self._instants[0]
        there = self._ids[due_us]
        return due_us, there if isinstance(there, str) else there[0]

    def drop_first(self) -> None:
        """Forget what `first` returned."""
        due_us = self._instants[0]
        there = self._ids[due_us]
        if not isinstance(there, str):
            there.popleft()
            if there:
                return
        del self._ids[due_us]
        heappop(self._instants)

    def taken(self, until_us: int) -> Iterator[tuple[int, str]]:
        """Take the tasks that are due up to an instant, one after the other."""
        instants = self._instants
        while instants and instants[0] <= until_us:
            due_us = instants[0]
            there = self._ids[due_us]
            task_id = there if isinstance(there, str) else there.popleft()
            if there is task_id or not there:
                del self._ids[due_us]
                heappop(instants)
            yield due_us, task_id

    def __len__(self) -> int:
        return sum(1 if isinstance(ids, str) else len(ids) for ids in self._ids.values())
