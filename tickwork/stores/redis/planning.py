"""Planning in Redis.

It reads the tasks that are due, decides, and writes those that nobody has changed meanwhile: a task
that was is left out, and the others are written without it.

Many tasks are written in parts, each whole or not at all, with runs and a lease of its own: while
the server writes one part, the next is decided about. To wait for the server once at the end, with
all that is to be written, took a sixth longer.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from tickwork.errors import StoreUnavailableError
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.json_text import to_text
from tickwork.model.policies import RunState, ScheduleState, Source
from tickwork.model.records import Leased, RunRecord, TaskRecord
from tickwork.model.steps import (
    Deferral,
    Eligibility,
    Plan,
    PlanReply,
    PlanRequest,
    new_run,
)
from tickwork.stores.redis.changing import Change, let_through
from tickwork.stores.redis.layout import instant_of, instant_word, word
from tickwork.stores.redis.server import split
from tickwork.stores.redis.session import PART, Lost, Session
from tickwork.stores.redis.slots import free_slots
from tickwork.stores.redis.texts import KeptTask, kept_tasks

__all__ = ["eligible", "plan"]

_PENDING, _SCHEDULED = RunState.PENDING, Source.SCHEDULED


def plan(session: Session, request: PlanRequest) -> PlanReply:
    """Do a store's `plan`."""
    due = _due(session, request)
    if not due.tasks:
        return PlanReply(next_us=due.next_us)
    planning = _Planning(session, request, due)
    if session.server.streams and len(due.tasks) > PART:
        planning.plan_in_parts()
    else:
        planning.plan_at_once()
    return planning.reply()


class _Due(NamedTuple):
    """The tasks that are due longest, with their entries.

    And when the next one is due, a fence for what is leased of them, and how many changes of tasks
    there were before they were read.
    """

    next_us: int | None
    fence: int
    changes: str
    tasks: list[tuple[str, KeptTask]]


def eligible(eligibility: Eligibility) -> dict[str, Any]:
    """Return what is eligible as scripts are told it."""
    return {
        "executors": sorted(map(word, eligibility.executors)),
        "functions": list(map(word, eligibility.without_functions)),
        "tasks": list(map(word, eligibility.without_tasks)),
    }


def _due(session: Session, request: PlanRequest) -> _Due:
    answer = session.server.run(
        "due",
        word(request.node),
        str(request.limit),
        instant_word(request.now_us + 1),
        to_text(eligible(request.eligibility)),
    )
    session.refuse(answer, request.node)
    next_us = instant_of(answer[1].decode()) if answer[1] else None
    entries = split(answer[4])
    words = [each.split("\n", 3)[2] for each in entries]
    texts, places = (split(each, len(words)) for each in answer[5:7])
    # Each text of a definition comes once, however many tasks have it.
    known = {str(place): text for place, text in enumerate(split(answer[7], 1), 1)}
    rows = list(zip(words, texts, map(known.__getitem__, places), strict=True))
    tasks = kept_tasks(rows, session.environment.codec)
    changes = answer[3].decode()
    return _Due(next_us, int(answer[2]), changes, list(zip(entries, tasks, strict=True)))


class _Planned:
    """A task with what was decided about it, and the state and entry that it had."""

    __slots__ = ("entry", "kept", "runs", "was")

    def __init__(self, kept: KeptTask, entry: str, was: ScheduleState) -> None:
        self.kept = kept
        self.was = was
        self.entry = entry
        self.runs: list[RunRecord] = []


class _Planning:
    """One call that plans."""

    def __init__(self, session: Session, request: PlanRequest, due: _Due) -> None:
        self._session = session
        self._request = request
        self._due = due
        self._capacity = dict(request.capacity)
        self._deferred: list[tuple[str, Deferral]] = []
        self._stays_due: list[int | None] = []
        self._parts: list[_Part] = []

    def plan_at_once(self) -> None:
        """Plan everything in one step."""
        [part] = self._parts_of(1)
        part.write()

    def plan_in_parts(self) -> None:
        """Decide about a part while the server writes the one before."""
        sent: list[tuple[_Part, Change]] = []
        with self._session.server.stream() as stream:
            for part in self._parts_of(-(-len(self._due.tasks) // PART)):
                if part.planned:
                    change = part.change()
                    self._session.begin(stream, change, self._request.node)
                    sent.append((part, change))
            answers = stream.answers()
        for (part, change), answer in zip(sent, answers, strict=True):
            part.write(partial(self._session.outcome, change, answer, self._request.node))

    def _parts_of(self, count: int) -> "Iterator[_Part]":
        """Yield what is due, decided about, in so many parts."""
        tasks = self._due.tasks
        size = -(-len(tasks) // count)
        for number, start in enumerate(range(0, len(tasks), size)):
            # As many fences as tasks are ours.
            part = _Part(self._session, self._request, self._due.fence + number, self._due.changes)
            self._parts.append(part)
            # All decisions come first: if one raises, nothing of the part has happened yet.
            for entry, kept in tasks[start : start + size]:
                self._consider(entry, kept, part)
            yield part

    def _consider(self, entry: str, kept: KeptTask, part: "_Part") -> None:
        """Decide about a task; nothing is written yet."""
        task = kept.record
        definition = task.definition
        if isinstance(definition, Unreadable):
            self._defer(task, Deferral(definition.reason))
            return
        decision = self._request.decide(task)
        if isinstance(decision, Deferral):
            self._defer(task, decision)
            return
        planned = _Planned(kept, entry, task.state)
        planned.runs = self._runs(kept, definition, decision, part.fence)
        task.state = decision.state
        task.fire_us = decision.fire_us
        task.due_us = decision.due_us
        task.planned_us = decision.planned_us
        task.catchup_us = decision.catchup_us
        task.problem = None
        task.revision += 1
        part.planned[kept.id_word] = planned

    def _defer(self, task: TaskRecord, deferral: Deferral) -> None:
        self._deferred.append((task.id, deferral))
        self._stays_due.append(task.due_us)

    def _runs(
        self, kept: KeptTask, definition: Definition, decision: Plan, fence: int
    ) -> list[RunRecord]:
        request, task = self._request, kept.record
        may_lease = definition.concurrency_key is None
        made = []
        for each in free_slots(self._session, kept, decision.runs):
            node, lease = None, 0
            if each.state is _PENDING:
                free = self._capacity.get(definition.executor, 0) if may_lease else 0
                if free > 0 and not each.queued:
                    self._capacity[definition.executor] = free - 1
                    node, lease = request.node, fence
                task.active += 1
                task.made += each.source is _SCHEDULED
                task.queued += each.queued
            made.append(new_run(each, task, request.new_id(), request.now_us, node, lease))
        return made

    def reply(self) -> PlanReply:
        """Return what has become of all parts."""
        more = len(self._due.tasks) == self._request.limit
        more |= any(part.lost for part in self._parts)
        leased: list[Leased] = []
        recorded: list[RunRecord] = []
        instants = [self._due.next_us, *self._stays_due]
        for planned in chain.from_iterable(part.planned.values() for part in self._parts):
            definition = planned.kept.record.definition
            instants.append(planned.kept.record.due_us)
            for run in planned.runs:
                if run.node is not None and isinstance(definition, Definition):
                    leased.append(Leased(run, definition))
                else:
                    recorded.append(run)
        known = [each for each in instants if each is not None]
        first = min(known) if known and not more else None
        return PlanReply(leased, recorded, self._deferred, first, more)


class _Part:
    """Tasks that are written together. `lost` says that some were changed meanwhile."""

    def __init__(self, session: Session, request: PlanRequest, fence: int, changes: str) -> None:
        self.fence = fence
        self.planned: dict[str, _Planned] = {}
        self.lost = False
        self._session = session
        self._node = request.node
        self._changes = changes

    def change(self) -> Change:
        """Return what is to be written."""
        change = self._session.change()
        change.changes = self._changes
        leased: list[str] = []
        for planned in self.planned.values():
            change.advance(planned.kept, planned.entry, planned.was)
            change.make(planned.runs, planned.kept)
            leased += [run.id for run in planned.runs if run.node is not None]
        change.grant(word(self._node), self.fence, leased)
        return change

    def write(self, outcome: Callable[[], frozenset[str]] | None = None) -> None:
        """Write what was decided, without the tasks that were changed meanwhile.

        `outcome` tells that of a first attempt.
        """
        commit = partial(self._session.commit, node=self._node)
        entered: frozenset[str] = frozenset()
        while self.planned:
            try:
                entered = outcome() if outcome else commit(self.change())
                break
            except Lost as lost:
                if not lost.tasks:
                    # Nothing else was to be compared.
                    raise StoreUnavailableError(f"Redis refused to plan: {lost}") from lost
                for each in lost.tasks:
                    del self.planned[each]
                self.lost, outcome = True, None
        for planned in self.planned.values() if entered else ():
            for run in planned.runs:
                if run.id in entered:
                    let_through(run)
