"""Writing what happened to leased runs, in Redis.

Nearly always all leases of a batch still hold, and nothing follows for the tasks but that one run
less is active: a script adds to the runs what is new and counts, and nobody reads anything. Where
it finds a lease lost, or runs that wait for others to end, it does nothing and says so; these are
then looked at, and the batch is written with what follows from them.

Many ends are written in parts, each with what follows from it: the server writes one while the next
is put together.
"""

from collections.abc import Iterator
from dataclasses import replace

from tickwork.model.json_text import to_text
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.steps import (
    TASK_REMOVED,
    Batch,
    Ended,
    Finished,
    GivenBack,
    Mark,
)
from tickwork.stores.redis.changing import Change
from tickwork.stores.redis.layout import word
from tickwork.stores.redis.letting_go import Departures, let_go, offer_again
from tickwork.stores.redis.run_texts import KeptRun, note_lines
from tickwork.stores.redis.session import PART, Lost, Session

__all__ = ["finish"]

_Entry = Mark | GivenBack | Finished


def finish(session: Session, batch: Batch, *, exactly: bool = False) -> frozenset[str]:
    """Do a store's `finish`; where told, runs wait even if their end was asked for."""
    if _is_odd(batch) or any(each.follows for each in batch.finished):
        # What follows is asked only about runs that are ended by this.
        holding, rejected = _sorted_out(session, batch)
        return rejected | _written(session, holding, exactly=exactly)
    if len(batch.finished) > PART and session.server.streams:
        return _written_in_parts(session, batch, exactly=exactly)
    return _written(session, batch, exactly=exactly)


def _written(session: Session, batch: Batch, *, exactly: bool) -> frozenset[str]:
    """Write a batch; return the ids of the runs whose lease was lost."""
    rejected: frozenset[str] = frozenset()
    looked_at: set[str] = set()
    holding = batch

    def step() -> frozenset[str]:
        nonlocal holding, rejected
        try:
            session.commit(_change(session, holding, looked_at, exactly=exactly))
        except Lost as lost:
            looked_at.update(lost.tasks)
            if lost.runs:
                holding, more = _sorted_out(session, holding)
                rejected |= more
            raise
        return rejected

    return session.persistently(step)


def _written_in_parts(session: Session, batch: Batch, *, exactly: bool) -> frozenset[str]:
    """Do `_written` for a batch with many ends, none of which tells its task anything."""
    sent: list[tuple[Batch, Change]] = []
    with session.server.stream() as stream:
        for part in _parts(batch):
            change = _change(session, part, set(), exactly=exactly)
            session.begin(stream, change)
            sent.append((part, change))
        answers = stream.answers()
    rejected: frozenset[str] = frozenset()
    for (part, change), answer in zip(sent, answers, strict=True):
        try:
            session.outcome(change, answer)
        except Lost:
            rejected |= _written(session, part, exactly=exactly)
    return rejected


def _parts(batch: Batch) -> Iterator[Batch]:
    """Yield a batch in parts; what happened before the ends stands in the first one."""
    ends = batch.finished
    yield replace(batch, finished=ends[:PART])
    for start in range(PART, len(ends), PART):
        yield Batch(batch.after_run, finished=ends[start : start + PART])


def _is_odd(batch: Batch) -> bool:
    """Whether a batch names the end of a run twice."""
    ends = [each.run_id for each in batch.given_back] + [each.run_id for each in batch.finished]
    return len(set(ends)) < len(ends)


def _change(session: Session, batch: Batch, looked_at: set[str], *, exactly: bool) -> Change:
    change = session.change()
    for note in batch.notes:
        change.notes += (note.run_id, str(note.fence), *note_lines(note.progress, note.log))
    given_back = {each.run_id for each in batch.given_back}
    for mark in batch.marks:
        if mark.run_id not in given_back:
            added = f',{{"started_us":{mark.started_us}}}'
            change.marks += (mark.run_id, str(mark.fence), added)
    if batch.given_back:
        _give_back(session, change, batch, exactly=exactly)
    gone = Departures()
    for each in batch.finished:
        entry = each.run_id, str(each.fence), _ended(each)
        if each.lingers:
            change.lingering += entry
            continue
        change.ends += entry
        change.expire(each.run_id, each.expires_us)
        ended = Ended(each.state, each.finished_us) if each.follows else None
        gone.add(word(each.task_id), each.generation, ended)
    let_go(session, change, gone, after_run=batch.after_run, looked_at=looked_at)
    return change


def _ended(finished: Finished) -> str:
    """Return what the end of a run adds to its text."""
    text = f',{{"state":"{finished.state}","finished_us":{finished.finished_us}'
    if finished.started_us is not None:
        text += f',"started_us":{finished.started_us}'
    if finished.result is not None:
        text += f',"result":{to_text(finished.result)}'
    if finished.reason is not None:
        text += f',"reason":{to_text(finished.reason)}'
    if finished.errors is not None:
        failed = int(finished.state is not RunState.COMPLETED)
        text += f',"errors":{to_text(finished.errors)},"failed":{failed}'
    if finished.expires_us is not None:
        text += f',"expires_us":{finished.expires_us}'
    return f"{text}}}"


def _give_back(session: Session, change: Change, batch: Batch, *, exactly: bool) -> None:
    """Make leased runs pending again, as they are after the marks of the same batch."""
    runs = session.runs([each.run_id for each in batch.given_back])
    tasks = session.tasks(list({word(run.record.task_id) for run in runs.values()}))
    marked = {each.run_id: each.started_us for each in batch.marks}
    now_us = session.environment.now_us()
    for back in batch.given_back:
        kept = runs.get(back.run_id)
        # Whether the lease still holds is what is compared; one that is gone fits nothing.
        if kept is None or kept.flag not in "LM" or kept.record.fence != back.fence:
            change.expect("runs", back.run_id, f"{back.fence} L ")
            continue
        run = kept.record
        change.expect("runs", run.id, kept.version)
        if back.run_id in marked and kept.flag == "L":
            run.started_us = marked[back.run_id]
        run.reason = back.reason
        if back.started:
            run.failures += back.error is not None
            run.errors = back.error or run.errors
        else:
            run.attempt -= 1
            run.started_us = None
        change.release(run)
        task = tasks.get(word(run.task_id))
        # Whoever asked for its end needn't wait for what it waits for.
        asked_us = None if exactly else run.cancel_us
        available_us = back.available_us if asked_us is None else asked_us
        offer_again(change, run, task, available_us, now_us)


def _sorted_out(session: Session, batch: Batch) -> tuple[Batch, frozenset[str]]:
    """Return the part of a batch that still holds its leases, and the ids whose lease was lost.

    What was written by an earlier, identical call is in neither.
    """
    entries: list[_Entry] = [*batch.marks, *batch.given_back, *batch.finished]
    runs = session.runs(list({each.run_id for each in entries}))
    holding = Batch(batch.after_run, notes=batch.notes)
    rejected = set()
    ended: dict[str, _Entry] = {}
    for each in entries:
        kept = runs.get(each.run_id)
        earlier = ended.get(each.run_id)
        if kept is None or kept.record.fence != each.fence:
            rejected.add(each.run_id)
        elif earlier is not None and not _goes_on(earlier, each):
            # Named twice: the first ended the lease, the same again changes nothing.
            if each != earlier:
                rejected.add(each.run_id)
        elif _holds(kept, each):
            _add(holding, each)
            if not isinstance(each, Mark):
                ended[each.run_id] = each
        elif not _was_written(kept, each):
            rejected.add(each.run_id)
    return holding, frozenset(rejected)


def _goes_on(earlier: _Entry, entry: _Entry) -> bool:
    """Whether an entry ends what an earlier one of the same batch has left lingering."""
    lingers = isinstance(earlier, Finished) and earlier.lingers
    return lingers and isinstance(entry, Finished) and not entry.lingers


def _holds(kept: KeptRun, entry: _Entry) -> bool:
    """Whether an entry takes effect on a run that has its fence."""
    if kept.flag == "O":
        return isinstance(entry, Finished) and not entry.lingers
    return kept.flag in "LM"


def _add(batch: Batch, entry: _Entry) -> None:
    if isinstance(entry, Mark):
        batch.marks.append(entry)
    elif isinstance(entry, GivenBack):
        batch.given_back.append(entry)
    else:
        batch.finished.append(entry)


def _was_written(kept: KeptRun, entry: _Entry) -> bool:
    run = kept.record
    if isinstance(entry, Finished):
        return run.state is entry.state and run.finished_us == entry.finished_us
    if kept.flag == "O":
        return isinstance(entry, Mark)
    # One given back whose task was gone is over by that.
    over = run.state in TERMINAL and run.reason != TASK_REMOVED
    return isinstance(entry, GivenBack) and not over
