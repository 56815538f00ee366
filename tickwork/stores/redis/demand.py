"""Runs without a task, and ends on demand, in Redis.

A run that is submitted is a new one like all others, but has its definition with it. Cancelling
reads the runs, and writes what becomes of them if that is still how they stand.
"""

from collections.abc import Sequence

from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord, copied
from tickwork.model.steps import CancelRequest, Ended
from tickwork.stores.redis.changing import Change
from tickwork.stores.redis.entries import asked_entry
from tickwork.stores.redis.layout import word
from tickwork.stores.redis.letting_go import Departures, cancelled, let_go
from tickwork.stores.redis.run_texts import KeptRun
from tickwork.stores.redis.session import Lost, Session

__all__ = ["asked", "cancel", "submit"]

_ALL = -1


def submit(session: Session, runs: Sequence[RunRecord]) -> None:
    """Do a store's `submit`."""
    left = {run.id: _pending(run) for run in reversed(runs)}

    def step() -> None:
        change = session.change()
        for run_id in left:
            change.expect("runs", run_id, "")
        change.make(list(left.values())[::-1])
        try:
            session.commit(change)
        except Lost as lost:
            # These are there already.
            for run_id in lost.runs:
                del left[run_id]
            raise

    session.persistently(step)


def _pending(run: RunRecord) -> RunRecord:
    """Return a copy of a run that is to be leased, or to wait for its key first."""
    new = copied(run)
    available_us = run.available_us or 0
    if run.key is None:
        new.available_us = available_us
    else:
        new.gated_us, new.available_us = available_us, None
    return new


def cancel(session: Session, request: CancelRequest) -> list[RunRecord | None]:
    """Do a store's `cancel`."""
    return session.persistently(lambda: _cancel(session, request))


def _cancel(session: Session, request: CancelRequest) -> list[RunRecord | None]:
    ids = list(dict.fromkeys(request.run_ids))
    runs = session.runs(ids)
    change, gone = session.change(), Departures()
    for kept in filter(None, map(runs.get, ids)):
        if kept.flag in "AGQ":
            _end(change, gone, kept, request)
        elif kept.flag in "LM" and kept.record.cancel_us is None:
            _ask(change, kept, request.now_us)
    let_go(session, change, gone, after_run=request.after_run)
    session.commit(change)
    found = [runs.get(each) for each in request.run_ids]
    return [None if each is None else copied(each.record) for each in found]


def _end(change: Change, gone: Departures, kept: KeptRun, request: CancelRequest) -> None:
    """Cancel a run that nobody has leased."""
    run = kept.record
    change.expect("runs", run.id, kept.version)
    gone.add(word(run.task_id), run.generation, Ended(RunState.CANCELLED, request.now_us))
    if kept.flag == "Q":
        gone.left[run.id] = gone.count
    change.withdraw(run, gone.count)
    cancelled(run, request.reason, request.now_us)
    change.rewrite(run)


def _ask(change: Change, kept: KeptRun, now_us: int) -> None:
    """Ask for the end of a run that is leased."""
    run = kept.record
    change.expect("runs", run.id, kept.version)
    run.cancel_us = now_us
    change.add("asked", asked_entry(word(run.node or ""), run.id))
    change.hints = True
    change.rewrite(run)


def asked(session: Session, node: str) -> list[str]:
    """Do a store's `asked`."""
    return [run_id for _, run_id in session.entries("asked", word(node), _ALL)]
