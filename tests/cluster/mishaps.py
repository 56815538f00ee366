"""Signals that a worker sends itself in the middle of a step of its store.

What a signal from outside hits once in a thousand times, these hit each time: a process that dies
or stands still just before its step reaches the store, or just after it took effect there.
"""

import signal
from collections.abc import Callable, Sequence
from threading import Lock, get_ident
from typing import Any, NamedTuple

from tickwork.interfaces import Reader, Store
from tickwork.model.policies import RunState
from tickwork.model.steps import (
    Batch,
    Beat,
    LeaseReply,
    LeaseRequest,
    PlanReply,
    PlanRequest,
    RunQuery,
)

__all__ = ["Mishap", "with_mishaps"]


class Mishap(NamedTuple):
    """A signal at the first call of `step` that concerns a task or run of `task_id`.

    `before` the step, or after one that did something about the task; `signal_number` is what the
    process gets. An `only_marks` one waits for a batch with a mark in it. Each happens once in a
    life of a process.
    """

    step: str
    task_id: str
    before: bool
    signal_number: int
    only_marks: bool = False


def with_mishaps(store: Store, mishaps: Sequence[Mishap]) -> Store:
    """Return the store, whose steps send these signals.

    No signal comes in the middle of a beat (which has a thread of its own): a process that stands
    still there may hold the lock of a whole database, and nobody could say anything about it.
    """
    beating = Lock()
    if mishaps:
        _guard_beats(store, beating)
    for step in {mishap.step for mishap in mishaps}:
        setattr(store, step, _Step(store, step, mishaps, beating))
    return store


def _guard_beats(store: Store, beating: Lock) -> None:
    inner = store.beat

    def beat(*args: Any, **options: Any) -> Beat:
        with beating:
            return inner(*args, **options)

    setattr(store, "beat", beat)  # noqa: B010  mypy won't have a method assigned to


class _Step:
    """A method of a store, in the middle of which signals come."""

    def __init__(self, store: Store, name: str, mishaps: Sequence[Mishap], beating: Lock) -> None:
        self._store = store
        self._inner: Callable[[Any], Any] = getattr(store, name)
        self._waiting = [mishap for mishap in mishaps if mishap.step == name]
        self._beating = beating

    def __call__(self, request: Any) -> Any:
        concerned = [each for each in self._waiting if _concerns(self._store, each, request)]
        self._happen([each for each in concerned if each.before])
        reply = self._inner(request)
        after = [each for each in concerned if not each.before]
        self._happen([each for each in after if _has_done_something(reply, each.task_id)])
        return reply

    def _happen(self, mishaps: Sequence[Mishap]) -> None:
        for mishap in mishaps:
            self._waiting.remove(mishap)
            with self._beating:
                # To this very thread: one to the process lets it run on for a moment.
                signal.pthread_kill(get_ident(), signal.Signals(mishap.signal_number))


def _has_done_something(reply: Any, task_id: str) -> bool:
    """Whether a step made or leased runs of a task; other steps than these two always do."""
    if not isinstance(reply, PlanReply | LeaseReply):
        return True
    runs = [each.run for each in reply.leased]
    if isinstance(reply, PlanReply):
        runs += reply.recorded
    return any(run.task_id == task_id for run in runs)


def _concerns(store: Store, mishap: Mishap, request: Any) -> bool:
    assert isinstance(store, Reader)
    if not mishap.before and isinstance(request, PlanRequest | LeaseRequest):
        # Its reply will tell; who asked first would come behind others, who lease all meanwhile.
        return True
    if isinstance(request, PlanRequest):
        task = store.get_task(mishap.task_id)
        return task is not None and task.due_us is not None and task.due_us <= request.now_us
    if isinstance(request, LeaseRequest):
        query = RunQuery(task_id=mishap.task_id, states=frozenset({RunState.PENDING}))
        found = store.find_runs(query)
        return any(
            run.available_us is not None and run.available_us <= request.now_us for run in found
        )
    if isinstance(request, Batch):
        if mishap.only_marks:
            entries = {mark.run_id for mark in request.marks}
        else:
            entries = {finished.run_id for finished in request.finished}
        query = RunQuery(task_id=mishap.task_id)
        return any(run.id in entries for run in store.find_runs(query))
    return False
