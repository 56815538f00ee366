"""Tasks, runs and nodes that are held in memory, and the indexes over them.

The memory store has nothing else; the file store writes down what changes here.

The indexes by time are heaps whose entries are never searched for: an entry counts only while the
record still says the same, and is dropped when it comes up otherwise. Runs move from one by time to
one by rank when their time has come.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count

from tickwork.model.definition import Definition
from tickwork.model.locks import LockRecord
from tickwork.model.policies import TERMINAL, RunState, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import Eligibility, LeaseRequest
from tickwork.stores.shelves.due import DueTimes
from tickwork.stores.shelves.runs import KeptRuns

__all__ = ["Shelves", "available_of", "place_of"]


# Looked up for each task; see `tickwork.model.records`.
_SCHEDULED = ScheduleState.SCHEDULED

_CROWD = 1_000
_Entry = tuple[int, int, str]
"""When a run becomes available (or its rank), a number that no other entry has, its id."""


@dataclass(slots=True)
class _Line:
    """The runs of an executor that wait to be leased: `early` by time, `ready` by rank."""

    early: list[_Entry] = field(default_factory=list)
    ready: list[tuple[int, int, int, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Gate:
    """A key: how many runs hold it, and those that wait for it, by rank and time."""

    holders: int = 0
    waiting: list[tuple[int, int, int, str]] = field(default_factory=list)


class Shelves:
    """Tasks, runs and nodes; not thread-safe by itself."""

    def __init__(self) -> None:
        self.tasks: dict[str, TaskRecord] = {}
        self.runs = KeptRuns()
        self.nodes: dict[str, NodeRecord] = {}
        self.locks: dict[str, LockRecord] = {}
        self.leased: defaultdict[str, dict[str, RunRecord]] = defaultdict(dict)
        self.queues: dict[tuple[str, int], deque[RunRecord]] = {}
        self._fence = 0
        self._due = DueTimes()
        self._available: dict[str, _Line] = {}
        self._suspects: dict[str, _Line] = {}
        self._gates: dict[str, _Gate] = {}
        self._expiring: list[tuple[int, str]] = []
        self._order = count()

    def next_fence(self) -> int:
        """Return a fence that is higher than all before it."""
        self._fence += 1
        return self._fence

    def place(self, task: TaskRecord, was_due_us: int | None = None) -> None:
        """Keep a task, findable by its due time; at `was_due_us` it can be found already."""
        self.tasks[task.id] = task
        if task.due_us is not None and task.due_us != was_due_us:
            self._due.add(task.due_us, task.id)

    def drop(self, task_id: str) -> None:
        """Let go of a task; its runs stay."""
        del self.tasks[task_id]

    def due(self, now_us: int, eligibility: Eligibility, limit: int) -> list[TaskRecord]:
        """Take up to `limit` eligible tasks that are due; they must be placed again."""
        found: list[TaskRecord] = []
        aside: list[tuple[int, str]] = []
        seen: set[str] = set()
        tasks = self.tasks
        for due_us, task_id in self._due.taken(now_us):
            task = tasks.get(task_id)
            if task is None or task.due_us != due_us or task_id in seen:
                continue
            seen.add(task_id)
            if not _is_eligible(task, eligibility):
                aside.append((due_us, task_id))
                continue
            found.append(task)
            if len(found) == limit:
                break
        for due_us, task_id in aside:
            self._due.add(due_us, task_id)
        return found

    def next_due(self, eligibility: Eligibility) -> int | None:
        """Return when the next eligible task is due."""
        aside: list[tuple[int, str]] = []
        next_us = None
        while (entry := self._due.first()) is not None:
            task = self.tasks.get(entry[1])
            if task is not None and task.due_us == entry[0]:
                if _is_eligible(task, eligibility):
                    next_us = entry[0]
                    break
                aside.append(entry)
            self._due.drop_first()
        for due_us, task_id in aside:
            self._due.add(due_us, task_id)
        return next_us

    def keep(self, run: RunRecord) -> bool:
        """Keep a new run; False where its slot is taken."""
        return self.runs.add(run)

    def settle(self, run: RunRecord) -> None:
        """Be told that a run is over, in no lease, and won't change any more."""
        self.runs.pack(run)

    def forget(self, run: RunRecord) -> None:
        """Let go of a run that is over. Its slot lies behind its task, so it can't come again."""
        self.runs.remove(run)

    def offer(self, run: RunRecord, available_us: int) -> None:
        """Make a pending run leasable from an instant on, as soon as it holds its key."""
        run.gated_us = run.available_us = None
        if run.key is not None and not run.holds_key:
            run.gated_us = available_us
            self._wait_at_gate(run)
            self.open_gate(run.key)
            return
        run.available_us = available_us
        self._line_up(run, available_us)

    def _line_up(self, run: RunRecord, available_us: int) -> int:
        shelf = self._suspects if run.suspect else self._available
        line = shelf.setdefault(run.executor, _Line())
        order = next(self._order)
        if self._is_crowded(line.early):
            line.early = [entry for entry in line.early if self._waiting(entry) is not None]
            heapify(line.early)
        heappush(line.early, (available_us, order, run.id))
        return order

    def _is_crowded(self, heap: Sequence[object]) -> bool:
        """Whether most entries of a heap must be those of runs that don't wait any more."""
        return len(heap) > _CROWD + 2 * len(self.runs)

    def _wait_at_gate(self, run: RunRecord) -> None:
        gate = self._gates.setdefault(run.key or "", _Gate())
        heappush(gate.waiting, (run.rank, run.gated_us or 0, next(self._order), run.id))

    def open_gate(self, key: str) -> None:
        """Give a key to those that wait for it, as far as the first of them may have it."""
        gate = self._gates[key]
        while gate.waiting:
            _, gated_us, _, run_id = gate.waiting[0]
            run = self.runs.get(run_id)
            if run is not None and run.gated_us == gated_us:
                if gate.holders >= run.key_limit:
                    return
                gate.holders += 1
                self._let_through(run, gated_us)
            heappop(gate.waiting)
        if not gate.holders:
            del self._gates[key]

    def _let_through(self, run: RunRecord, available_us: int) -> None:
        run.holds_key = True
        self.offer(run, available_us)

    def let_go_of_key(self, run: RunRecord) -> None:
        """Have a run that is over hold its key no more, nor wait for it."""
        waited, run.gated_us = run.gated_us is not None, None
        if run.key is None:
            return
        if run.holds_key:
            run.holds_key = False
            self.drop_key(run)
        elif not waited:
            return
        # Also when a run is gone that only waited: the next one may be content with less.
        self.open_gate(run.key)

    def hold_key(self, run: RunRecord) -> None:
        """Count a run among the holders of its key."""
        self._gates.setdefault(run.key or "", _Gate()).holders += 1

    def drop_key(self, run: RunRecord) -> None:
        """Count a run among them no more."""
        self._gates[run.key or ""].holders -= 1

    def unlease(self, run: RunRecord) -> None:
        """End the lease of a run."""
        if run.node is not None:
            self.leased[run.node].pop(run.id, None)
            run.node = None

    def cancel(self, run: RunRecord, reason: str, now_us: int) -> None:
        """End a run that nobody executes."""
        run.state, run.reason = RunState.CANCELLED, reason
        run.finished_us, run.available_us = now_us, None
        self.let_go_of_key(run)

    def queue(self, run: RunRecord) -> None:
        """Line a pending run up behind the others of its task."""
        run.available_us = None
        self.queues.setdefault((run.task_id, run.generation), deque()).append(run)

    def leave_queue(self, run: RunRecord) -> None:
        """Take a run out of the line behind the others of its task."""
        key = run.task_id, run.generation
        queue = self.queues.get(key)
        if queue is not None and run in queue:
            queue.remove(run)
            self.tasks[run.task_id].queued -= 1
            if not queue:
                del self.queues[key]

    def note(self, run: RunRecord) -> None:
        """Be told that a run is about to change in another way than by a method here."""

    def let_expire(self, run: RunRecord, expires_us: int | None) -> None:
        """Say from when on a run that is over may be forgotten."""
        run.expires_us = expires_us
        if expires_us is not None:
            heappush(self._expiring, (expires_us, run.id))
            if self._is_crowded(self._expiring):
                self._expiring = [it for it in self._expiring if it[1] in self.runs]
                heapify(self._expiring)

    def expired(self, now_us: int, limit: int) -> list[RunRecord]:
        """Take up to `limit` runs that may be forgotten by now; they must be."""
        found: list[RunRecord] = []
        aside = []
        heap = self._expiring
        while heap and heap[0][0] <= now_us and len(found) < limit:
            entry = heappop(heap)
            run = self.runs.get(entry[1])
            if run is None or run.expires_us != entry[0]:
                continue
            if run.node is None:
                found.append(run)
            else:
                aside.append(entry)
        for entry in aside:
            heappush(heap, entry)
        return found

    def asked(self, node: str) -> list[str]:
        """Return the runs leased to a node, and not over, whose end was asked for."""
        return [
            run.id
            for run in self.leased.get(node, {}).values()
            if run.cancel_us is not None and run.state not in TERMINAL
        ]

    def oldest_suspect(self, request: LeaseRequest) -> list[RunRecord]:
        """Take the suspect that may be leased and comes first; none or one."""
        found: list[RunRecord] = []
        for executor, room in request.capacity.items():
            if room > 0:
                found += self.available(executor, request, 1, suspects=True)
        found.sort(key=place_of)
        for run in found[1:]:
            self.offer(run, available_of(run))
        return found[:1]

    def available(
        self, executor: str, request: LeaseRequest, limit: int, *, suspects: bool
    ) -> list[RunRecord]:
        """Take up to `limit` runs of an executor that may be leased."""
        line = (self._suspects if suspects else self._available).get(executor)
        if line is None or executor not in request.eligibility.executors:
            return []
        early, ready = line.early, line.ready
        eligibility, only = request.eligibility, request.only
        while early and early[0][0] <= request.now_us:
            entry = heappop(early)
            run = self._waiting(entry)
            if run is not None:
                heappush(ready, (run.rank, *entry))
        found: list[RunRecord] = []
        aside = []
        while ready and len(found) < limit:
            place = heappop(ready)
            run = self._waiting(place[1:])
            if run is None:
                continue
            if self._excluded(run, eligibility) or (only is not None and run.id not in only):
                aside.append(place)
            else:
                found.append(run)
        for place in aside:
            heappush(ready, place)
        return found

    def next_available(self, eligibility: Eligibility, *, suspects: bool) -> int | None:
        """Return when the next eligible run becomes available."""
        nearest: int | None = None
        for shelf in (self._available, self._suspects) if suspects else (self._available,):
            for executor in eligibility.executors & shelf.keys():
                line = shelf[executor]
                available_us = self._first_ready(line, eligibility)
                if available_us is None:
                    available_us = self._first_early(line.early, eligibility)
                if available_us is not None and (nearest is None or available_us < nearest):
                    nearest = available_us
        return nearest

    def _first_ready(self, line: _Line, eligibility: Eligibility) -> int | None:
        """Return since when a run that may be leased has waited, one of the lowest rank."""
        aside = []
        found: int | None = None
        while line.ready and found is None:
            place = line.ready[0]
            run = self._waiting(place[1:])
            if run is None:
                heappop(line.ready)
            elif self._excluded(run, eligibility):
                aside.append(heappop(line.ready))
            else:
                found = place[1]
        for place in aside:
            heappush(line.ready, place)
        return found

    def _first_early(self, early: list[_Entry], eligibility: Eligibility) -> int | None:
        aside: list[_Entry] = []
        found: int | None = None
        while early and found is None:
            run = self._waiting(early[0])
            if run is None:
                heappop(early)
            elif self._excluded(run, eligibility):
                aside.append(heappop(early))
            else:
                found = early[0][0]
        for entry in aside:
            heappush(early, entry)
        return found

    def _waiting(self, entry: _Entry) -> RunRecord | None:
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


def place_of(run: RunRecord) -> tuple[int, int]:
    """Return what orders runs that may be leased."""
    return run.rank, available_of(run)


def _is_eligible(task: TaskRecord, eligibility: Eligibility) -> bool:
    definition = task.definition
    return (
        (task.state is _SCHEDULED or task.wake_us is not None)
        and isinstance(definition, Definition)
        and definition.executor in eligibility.executors
        and definition.function not in eligibility.without_functions
        and task.id not in eligibility.without_tasks
    )
