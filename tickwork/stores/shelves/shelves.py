"""Tasks, runs and nodes that are held in memory, and the indexes over them.

The memory store has nothing else; the file store writes down what changes here.

The indexes by time are heaps whose entries are never searched for: an entry counts only while the
record still says the same, and is dropped when it comes up otherwise.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from heapq import heappop, heappush
from itertools import count

from tickwork.model.definition import Definition
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import Eligibility, LeaseRequest

__all__ = ["Shelves", "available_of"]


class Shelves:
    """Tasks, runs and nodes; not thread-safe by itself."""

    def __init__(self) -> None:
        self.tasks: dict[str, TaskRecord] = {}
        self.runs: dict[str, RunRecord] = {}
        self.nodes: dict[str, NodeRecord] = {}
        self.slots: set[tuple[str, int, int]] = set()
        self._histories: dict[str, RunRecord | dict[str, RunRecord]] = {}
        self.leased: defaultdict[str, dict[str, RunRecord]] = defaultdict(dict)
        self.queues: dict[tuple[str, int], deque[RunRecord]] = {}
        self._fence = 0
        self._due: list[tuple[int, int, str]] = []
        self._available: dict[str, list[tuple[int, int, str]]] = {}
        self._suspects: dict[str, list[tuple[int, int, str]]] = {}
        self._order = count()

    def next_fence(self) -> int:
        """Return a fence that is higher than all before it."""
        self._fence += 1
        return self._fence

    def place(self, task: TaskRecord, was_due_us: int | None = None) -> None:
        """Keep a task, findable by its due time; at `was_due_us` it can be found already."""
        self.tasks[task.id] = task
        if task.due_us is not None and task.due_us != was_due_us:
            heappush(self._due, (task.due_us, next(self._order), task.id))

    def drop(self, task_id: str) -> None:
        """Let go of a task; its runs stay."""
        del self.tasks[task_id]

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
        history = self._histories.setdefault(run.task_id, run)
        if isinstance(history, dict):
            history[run.id] = run
        elif history is not run:
            self._histories[run.task_id] = {history.id: history, run.id: run}
        return True

    def runs_of(self, task_id: str) -> Mapping[str, RunRecord]:
        """Return the runs of a task by id, oldest first."""
        history = self._histories.get(task_id)
        if history is None:
            return {}
        # Most tasks ever have a single run, which needs no dict of its own.
        return history if isinstance(history, dict) else {history.id: history}

    def forget(self, run: RunRecord) -> None:
        """Let go of a run that is over. Its slot lies behind its task, so it can't come again."""
        del self.runs[run.id]
        if run.fire_us is not None:
            self.slots.discard((run.task_id, run.generation, run.fire_us))
        history = self._histories[run.task_id]
        if isinstance(history, dict):
            del history[run.id]
        if history is run or not history:
            del self._histories[run.task_id]

    def offer(self, run: RunRecord, available_us: int) -> None:
        """Make a pending run leasable from an instant on."""
        run.available_us = available_us
        shelf = self._suspects if run.suspect else self._available
        heappush(shelf.setdefault(run.executor, []), (available_us, next(self._order), run.id))

    def unlease(self, run: RunRecord) -> None:
        """End the lease of a run."""
        if run.node is not None:
            self.leased[run.node].pop(run.id, None)
            run.node = None

    def cancel(self, run: RunRecord, reason: str, now_us: int) -> None:
        """End a run that nobody executes."""
        run.state, run.reason = RunState.CANCELLED, reason
        run.finished_us, run.available_us = now_us, None

    def queue(self, run: RunRecord) -> None:
        """Line a pending run up behind the others of its task."""
        run.available_us = None
        self.queues.setdefault((run.task_id, run.generation), deque()).append(run)

    def oldest_suspect(self, request: LeaseRequest) -> list[RunRecord]:
        """Take the suspect that may be leased and has waited longest; none or one."""
        found: list[RunRecord] = []
        for executor, room in request.capacity.items():
            if room > 0:
                found += self.available(executor, request, 1, suspects=True)
        found.sort(key=available_of)
        for run in found[1:]:
            self.offer(run, available_of(run))
        return found[:1]

    def available(
        self, executor: str, request: LeaseRequest, limit: int, *, suspects: bool
    ) -> list[RunRecord]:
        """Take up to `limit` runs of an executor that may be leased."""
        if executor not in request.eligibility.executors:
            return []
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


def available_of(run: RunRecord) -> int:
    """Return when a pending run that may be leased became available."""
    return run.available_us or 0


def _is_eligible(task: TaskRecord, eligibility: Eligibility) -> bool:
    definition = task.definition
    return (
        task.state is ScheduleState.SCHEDULED
        and isinstance(definition, Definition)
        and definition.executor in eligibility.executors
        and definition.function not in eligibility.without_functions
        and task.id not in eligibility.without_tasks
    )
