"""What an open folder holds, in memory: it notes what changes, and takes over what others changed.

The steps themselves are those of `tickwork.stores.shelves`. Whatever they change is noted *before*
it changes, so that a step during which nothing was noted has changed nothing. A run that is as it
was when it was noted is not written.

What others changed comes as whole records. Indexes by time may have several entries of one run
then, old and new ones; only the newest counts, since a run must not be leased twice.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from tickwork.model.locks import LockRecord
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord, copied
from tickwork.model.steps import Eligibility, LeaseRequest
from tickwork.stores.shelves.shelves import Shelves

__all__ = ["Changes", "WorkingShelves"]


@dataclass(slots=True)
class Changes:
    """What a step has changed, or was about to: runs with what they were before, and names."""

    runs: dict[str, tuple[RunRecord, RunRecord | None]] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    tasks: dict[str, None] = field(default_factory=dict)
    nodes: dict[str, NodeRecord | None] = field(default_factory=dict)
    locks: dict[str, LockRecord | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.runs or self.forgotten or self.tasks or self.nodes or self.locks)


class WorkingShelves(Shelves):
    """Tasks, runs, nodes and locks of an open folder."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = Changes()
        self._offers: dict[str, int] = {}

    @property
    def fence(self) -> int:
        """The highest fence so far."""
        return self._fence

    def take_fence(self, fence: int) -> None:
        """Go on counting above a fence that another has written."""
        self._fence = max(self._fence, fence)

    # --- noting -------------------------------------------------------------------------------

    def note_run(self, run: RunRecord) -> None:
        """Note that a run is about to change."""
        if run.id not in self.changes.runs:
            self.changes.runs[run.id] = run, copied(run)

    def note_node(self, node_id: str) -> None:
        """Note that a node is about to change."""
        node = self.nodes.get(node_id)
        self.changes.nodes.setdefault(node_id, copied(node) if node else None)

    def note_locks(self, names: Iterable[str]) -> None:
        """Note that locks are about to change: others take their places."""
        for name in names:
            self.changes.locks.setdefault(name, self.locks.get(name))

    def keep(self, run: RunRecord) -> bool:
        self.changes.runs[run.id] = run, None
        if super().keep(run):
            return True
        del self.changes.runs[run.id]
        return False

    def forget(self, run: RunRecord) -> None:
        self.changes.forgotten.append(run.id)
        self._offers.pop(run.id, None)
        super().forget(run)

    def settle(self, run: RunRecord) -> None:
        """Leave it as it is: what others write of it is taken over into the same record."""

    def place(self, task: TaskRecord, was_due_us: int | None = None) -> None:
        self.changes.tasks[task.id] = None
        super().place(task, was_due_us)

    def drop(self, task_id: str) -> None:
        self.changes.tasks[task_id] = None
        super().drop(task_id)

    def note(self, run: RunRecord) -> None:
        self.note_run(run)

    def unlease(self, run: RunRecord) -> None:
        self.note_run(run)
        super().unlease(run)

    def _let_through(self, run: RunRecord, available_us: int) -> None:
        self.note_run(run)
        super()._let_through(run, available_us)

    def cancel(self, run: RunRecord, reason: str, now_us: int) -> None:
        self.note_run(run)
        super().cancel(run, reason, now_us)

    def available(
        self, executor: str, request: LeaseRequest, limit: int, *, suspects: bool
    ) -> list[RunRecord]:
        found = super().available(executor, request, limit, suspects=suspects)
        for run in found:
            self.note_run(run)
        return found

    def due(self, now_us: int, eligibility: Eligibility, limit: int) -> list[TaskRecord]:
        found = super().due(now_us, eligibility, limit)
        self.changes.tasks.update(dict.fromkeys([task.id for task in found]))
        return found

    # --- offers -------------------------------------------------------------------------------

    def offer(self, run: RunRecord, available_us: int) -> None:
        self.note_run(run)
        super().offer(run, available_us)

    def _line_up(self, run: RunRecord, available_us: int) -> int:
        order = self._offers[run.id] = super()._line_up(run, available_us)
        return order

    def _waiting(self, entry: tuple[int, int, str]) -> RunRecord | None:
        return super()._waiting(entry) if self._offers.get(entry[2]) == entry[1] else None

    # --- what others changed ------------------------------------------------------------------

    def take_task(self, task: TaskRecord) -> None:
        """Have a task as another has written it; the counts are our own."""
        known = self.tasks.get(task.id)
        if known is not None and known.generation == task.generation:
            task.active, task.queued = known.active, known.queued
            if known.definition is task.definition and known.anchor_us == task.anchor_us:
                task.timing = known.timing
        else:
            mine = [run for run in self.runs.of_task(task.id) if _counts(run, task)]
            task.active, task.queued = len(mine), sum(map(_is_queued, mine))
        super().place(task, known.due_us if known is not None else None)

    def take_removal(self, task_id: str) -> None:
        """Have a task no more."""
        self.tasks.pop(task_id, None)

    def take_run(self, run: RunRecord) -> None:
        """Have a run as another has written it."""
        known = self.runs.get(run.id)
        if known is None:
            super().keep(run)
            self._recount(run, 0, queued=0)
            self._take_place(run, None)
            self._take_key(run, None, held=False)
            return
        active, queued = _is_counted(known), _is_queued(known)
        was_available_us, was_gated_us, held = known.available_us, known.gated_us, known.holds_key
        self._leave_place(known, run)
        for name in RunRecord.__slots__:
            setattr(known, name, getattr(run, name))
        self._recount(known, active, queued=queued)
        self._take_place(known, was_available_us, queued=queued)
        self._take_key(known, was_gated_us, held=held)

    def _take_key(self, run: RunRecord, was_gated_us: int | None, *, held: bool) -> None:
        """Count a run among those that hold or await its key, as another has written it."""
        if run.expires_us is not None:
            self.let_expire(run, run.expires_us)
        if run.holds_key and not held:
            self.hold_key(run)
        elif held and not run.holds_key:
            self.drop_key(run)
        if run.gated_us is not None and run.gated_us != was_gated_us:
            self._wait_at_gate(run)

    def take_forgetting(self, run_ids: list[str]) -> None:
        """Have some runs no more."""
        for run_id in run_ids:
            run = self.runs.get(run_id)
            if run is not None:
                self._offers.pop(run_id, None)
                super().forget(run)

    def take_leaving(self, node_id: str) -> None:
        """Have a node no more."""
        self.nodes.pop(node_id, None)
        if not self.leased.get(node_id):
            self.leased.pop(node_id, None)

    def take_lapse(self, names: Iterable[str]) -> None:
        """Have some locks no more."""
        for name in names:
            self.locks.pop(name, None)

    def _leave_place(self, known: RunRecord, run: RunRecord) -> None:
        if known.node is not None and known.node != run.node:
            self.leased[known.node].pop(known.id, None)
        if _is_queued(known) and not _is_queued(run):
            key = known.task_id, known.generation
            queue = self.queues.get(key, deque())
            if queue and queue[0] is known:
                queue.popleft()
            elif queue:
                self.queues[key] = queue = deque(each for each in queue if each is not known)
            if not queue:
                self.queues.pop(key, None)

    def _take_place(
        self, run: RunRecord, was_available_us: int | None, *, queued: bool = False
    ) -> None:
        if run.node is not None:
            self.leased[run.node][run.id] = run
        elif run.available_us is not None:
            if run.available_us != was_available_us:
                self._line_up(run, run.available_us)
        elif run.state is RunState.PENDING and run.gated_us is None and not queued:
            self.queues.setdefault((run.task_id, run.generation), deque()).append(run)

    def _recount(self, run: RunRecord, active: int, *, queued: int) -> None:
        task = self.tasks.get(run.task_id)
        if task is not None and task.generation == run.generation:
            task.active += _is_counted(run) - active
            task.queued += _is_queued(run) - queued


def _is_queued(run: RunRecord) -> bool:
    """Whether a run waits behind others of its task."""
    waits = run.available_us is None and run.gated_us is None
    return run.state is RunState.PENDING and run.node is None and waits


def _is_counted(run: RunRecord) -> bool:
    """Whether a run is an instance of its task: not over, or over and still going on."""
    return run.state not in TERMINAL or run.node is not None


def _counts(run: RunRecord, task: TaskRecord) -> bool:
    return _is_counted(run) and run.generation == task.generation
