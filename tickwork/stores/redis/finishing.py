"""Writing what happened to leased runs, in Redis.

Nearly always all leases of a batch still hold, and nothing follows for the tasks but that one run
less is active: a script adds to the runs what is new and counts, and nobody reads anything. Where
it finds a lease lost, or runs that wait for others to end, it does nothing and says so; these are
then looked at, and the batch is written with what follows from them.
"""

from collections import Counter
from collections.abc import Callable, Mapping

from tickwork.model.definition import Definition
from tickwork.model.json_text import to_text
from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import TASK_REMOVED, Batch, Finished, GivenBack, Mark
from tickwork.stores.redis.changing import Change, traces
from tickwork.stores.redis.layout import word
from tickwork.stores.redis.session import Lost, Session
from tickwork.stores.redis.texts import KeptRun, KeptTask, run_text

__all__ = ["Over", "finish", "let_go", "offer_again"]

Over = Counter[tuple[str, int]]
"""How many runs have ended, by the word of their task's id and by its generation."""

_Entry = Mark | GivenBack | Finished


def finish(session: Session, batch: Batch) -> frozenset[str]:
    """Do a store's `finish`."""
    rejected: frozenset[str] = frozenset()
    looked_at: set[str] = set()
    holding = batch
    if _is_odd(batch) or any(each.follows for each in batch.finished):
        # What follows is asked only about runs that are ended by this.
        holding, rejected = _sorted_out(session, batch)

    def step() -> frozenset[str]:
        nonlocal holding, rejected
        try:
            session.commit(_change(session, holding, looked_at))
        except Lost as lost:
            looked_at.update(lost.tasks)
            if lost.runs:
                holding, more = _sorted_out(session, holding)
                rejected |= more
            raise
        return rejected

    return session.persistently(step)


def _is_odd(batch: Batch) -> bool:
    """Whether a batch names the end of a run twice."""
    ends = [each.run_id for each in batch.given_back] + [each.run_id for each in batch.finished]
    return len(set(ends)) < len(ends)


def _change(session: Session, batch: Batch, looked_at: set[str]) -> Change:
    change = Change()
    given_back = {each.run_id for each in batch.given_back}
    for mark in batch.marks:
        if mark.run_id not in given_back:
            added = f',{{"started_us":{mark.started_us}}}'
            change.marks += (mark.run_id, str(mark.fence), added)
    if batch.given_back:
        _give_back(session, change, batch)
    over: Over = Counter()
    follows: dict[tuple[str, int], int] = {}
    for each in batch.finished:
        change.ends += (each.run_id, str(each.fence), _ended(each))
        key = word(each.task_id), each.generation
        over[key] += 1
        if each.follows:
            follows[key] = each.finished_us
    let_go(session, change, over, follows, batch.after_run, looked_at)
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
    return f"{text}}}"


def let_go(  # noqa: PLR0917  one step of two others, in their change
    session: Session,
    change: Change,
    over: Over,
    follows: Mapping[tuple[str, int], int],
    after_run: Callable[[TaskRecord, int], None],
    looked_at: set[str],
) -> None:
    """Let tasks go on of which some runs have ended; those to be `looked_at` are read for it."""
    read = sorted({task for task, _ in follows} | looked_at)
    tasks = session.tasks(read) if read else {}
    for (task, generation), count in over.items():
        kept = tasks.get(task)
        if kept is None or kept.record.generation != generation:
            change.over += (task, str(generation), count)
            continue
        before = traces(kept)
        kept.record.active -= count
        _release(session, change, kept)
        finished_us = follows.get((task, generation))
        if finished_us is not None and isinstance(kept.record.definition, Definition):
            after_run(kept.record, finished_us)
        kept.record.revision += 1
        change.move(task, before, kept)


def _release(session: Session, change: Change, kept: KeptTask) -> None:
    """Make as many queued runs available as may run now; the longest due first."""
    task = kept.record
    definition = task.definition
    limit = definition.max_instances if isinstance(definition, Definition) else 1
    room = min(limit - (task.active - task.queued), task.queued)
    if room <= 0:
        return
    words = f"{kept.id_word}\n{task.generation}"
    for _, _, due, run_id, executor, function in session.entries("queues", words, room):
        change.remove("queues", f"{words}\n{due}\n{run_id}\n{executor}\n{function}")
        change.add("available", f"{executor}\n{due}\n{run_id}\n{kept.id_word}\n{function}")
        change.head(run_id, f"0 A 0 {due}")
        task.queued -= 1
    change.hints = True


def _give_back(session: Session, change: Change, batch: Batch) -> None:
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
        offer_again(change, run, task, back.available_us, now_us)


def offer_again(  # noqa: PLR0917  one step of two others
    change: Change, run: RunRecord, task: KeptTask | None, available_us: int, now_us: int
) -> None:
    """Make a run pending again; one whose task is gone meanwhile is over."""
    if task is not None:
        # Whatever changes of the task but that it is there.
        change.expect("tasks", task.id_word, f"{task.record.generation} ")
    else:
        change.expect("tasks", word(run.task_id), "")
    if task is not None and task.record.generation == run.generation:
        run.state = RunState.PENDING
        run.available_us = available_us
        change.offer(run)
    else:
        run.state, run.reason = RunState.CANCELLED, TASK_REMOVED
        run.finished_us, run.available_us = now_us, None
    change.set("runs", run.id, run_text(run))


def _sorted_out(session: Session, batch: Batch) -> tuple[Batch, frozenset[str]]:
    """Return the part of a batch that still holds its leases, and the ids whose lease was lost.

    What was written by an earlier, identical call is in neither.
    """
    entries: list[_Entry] = [*batch.marks, *batch.given_back, *batch.finished]
    runs = session.runs(list({each.run_id for each in entries}))
    holding = Batch(batch.after_run)
    rejected = set()
    ended: dict[str, _Entry] = {}
    for each in entries:
        kept = runs.get(each.run_id)
        if kept is None or kept.record.fence != each.fence:
            rejected.add(each.run_id)
        elif each.run_id in ended:
            # Named twice: the first ended the lease, the same again changes nothing.
            if each != ended[each.run_id]:
                rejected.add(each.run_id)
        elif kept.flag in "LM":
            _add(holding, each)
            if not isinstance(each, Mark):
                ended[each.run_id] = each
        elif not _was_written(kept, each):
            rejected.add(each.run_id)
    return holding, frozenset(rejected)


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
    # One given back whose task was gone is over by that.
    over = run.state in TERMINAL and run.reason != TASK_REMOVED
    return isinstance(entry, GivenBack) and not over
