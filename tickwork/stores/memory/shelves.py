"""What a memory store holds, and the indexes over it.

The indexes by time are heaps whose entries are never searched for: an entry counts only while the
record still says the same, and is dropped when it comes up otherwise.
"""

from collections import defaultdict, deque
from heapq import heappop, heappush
from itertools import count

from tickwork.model.definition import Definition
from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import Eligibility, LeaseRequest

__all__ = ["Shelves"]


class Shelves:
    """Tasks, runs and nodes of a memory store; not thread-safe by itself."""

    def __init__(self) -> None:
        self.tasks: dict[str, TaskRecord] = {}
        self.runs: dict[str, RunRecord] = {}
        self.nodes: dict[str, NodeRecord] = {}
        self.slots: set[tuple[str, int, int]] = set()
        self.by_task: dict[str, dict[str, RunRecord]] = {}
        self.leased: defaultdict[str, dict[str, RunRecord]] = defaultdict(dict)
        self.queues: dict[str, deque[RunRecord]] = {}
        self._due: list[tuple[int, int, str]] = []
        self._available: dict[str, list[tuple[int, int, str]]] = {}
        self._suspects: dict[str, list[tuple[int, int, str]]] = {}
        self._order = count()

    def place(self, task: TaskRecord) -> None:
        """Keep a task, findable by its due time."""
        self.tasks[task.id] = task
        if task.due_us is not None:
            heappush(self._due, (task.due_us, next(self._order), task.id))

    def due(self, now_us: int, eligibility: Eligibility, limit: int) -> list[TaskRecord]:
        """Take up to `limit` eligible tasks that are due; they must be placed again."""
        found: list[TaskRecord] = []
        aside: list[tuple[int, int, str]] = []
        seen: set[str] = set()
        heap, tasks = self._due, self.tasks
        while heap and heap[0][0] <= now_us and len(found) < limit:
            entry = heappop(heap)
            task = tasks.get(entry[2])
            if task is None or task.due_us != entry[0] or task.id in seen:
                continue
            seen.add(task.id)
            if _is_eligible(task, eligibility):
                found.append(task)
            else:
                aside.append(entry)
        for entry in aside:
            heappush(heap, entry)
        return found

    def next_due(self, eligibility: Eligibility) -> int | None:
        """Return when the next eligible task is due."""
        aside: list[tuple[int, int, str]] = []
        heap = self._due
        next_us = None
        while heap and next_us is None:
            task = self.tasks.get(heap[0][2])
            if task is None or task.due_us != heap[0][0]:
                heappop(heap)
            elif _is_eligible(task, eligibility):
                next_us = heap[0][0]
            else:
                aside.append(heappop(heap))
        for entry in aside:
            heappush(heap, entry)
        return next_us

    def keep(self, run: RunRecord) -> bool:
        """Keep a new run; False where its slot is taken."""
        if run.fire_us is not None:
            slot = (run.task_id, run.generation, run.fire_us)
            if slot in self.slots:
                return False
            self.slots.add(slot)
        self.runs[run.id] = run
        history = self.by_task.get(run.task_id)
        if history is None:
            history = self.by_task[run.task_id] = {}
        history[run.id] = run
        return True

    def forget(self, run: RunRecord) -> None:
        """Let go of a run that is over. Its slot lies behind its task, so it can't come again."""
        del self.runs[run.id]
        if run.fire_us is not None:
            self.slots.discard((run.task_id, run.generation, run.fire_us))
        history = self.by_task[run.task_id]
        del history[run.id]
        if not history:
            del self.by_task[run.task_id]

    def offer(self, run: RunRecord, available_us: int) -> None:
        """Make a pending run leasable from an instant on."""
        run.available_us = available_us
        shelf = self._suspects if run.suspect else self._available
        heappush(shelf.setdefault(run.executor, []), (available_us, next(self._order), run.id))

    def queue(self, run: RunRecord) -> None:
        """Line a pending run up behind the others of its task."""
        self.queues.setdefault(run.task_id, deque()).append(run)

    def available(
        self, executor: str, request: LeaseRequest, limit: int, *, suspects: bool
    ) -> list[RunRecord]:
        """Take up to `limit` runs of an executor that may be leased."""
        shelf = self._suspects if suspects else self._available
        heap = shelf.get(executor, [])
        now_us, eligibility, only = request.now_us, request.eligibility, request.only
        found: list[RunRecord] = []
        aside = []
        while heap and heap[0][0] <= now_us and len(found) < limit:
            entry = heappop(heap)
            run = self._waiting(entry)
            if run is None:
                continue
            if self._excluded(run, eligibility) or (only is not None and run.id not in only):
                aside.append(entry)
            else:
                found.append(run)
        for entry in aside:
            heappush(heap, entry)
        return found

    def next_available(self, eligibility: Eligibility, *, suspects: bool) -> int | None:
        """Return when the next eligible run becomes available."""
        nearest: int | None = None
        for shelf in (self._available, self._suspects) if suspects else (self._available,):
            for executor in eligibility.executors & shelf.keys():
                available_us = self._first_of(shelf[executor], eligibility)
                if available_us is not None and (nearest is None or available_us < nearest):
                    nearest = available_us
        return nearest

    def _first_of(self, heap: list[tuple[int, int, str]], eligibility: Eligibility) -> int | None:
        aside: list[tuple[int, int, str]] = []
        found: int | None = None
        while heap and found is None:
            run = self._waiting(heap[0])
            if run is None:
                heappop(heap)
            elif self._excluded(run, eligibility):
                aside.append(heappop(heap))
            else:
                found = heap[0][0]
        for entry in aside:
            heappush(heap, entry)
        return found

    def _waiting(self, entry: tuple[int, int, str]) -> RunRecord | None:
        run = self.runs.get(entry[2])
        waits = run is not None and run.state is RunState.PENDING and run.available_us == entry[0]
        return run if waits else None

    @staticmethod
    def _excluded(run: RunRecord, eligibility: Eligibility) -> bool:
        return (
            run.function in eligibility.without_functions
            or run.task_id in eligibility.without_tasks
        )


def _is_eligible(task: TaskRecord, eligibility: Eligibility) -> bool:
    definition = task.definition
    return (
        isinstance(definition, Definition)
        and definition.executor in eligibility.executors
        and definition.function not in eligibility.without_functions
        and task.id not in eligibility.without_tasks
    )
