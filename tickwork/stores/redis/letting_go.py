"""What follows when runs end: for their tasks, for those that queue behind them, for their keys.

Runs of a step end one after the other, and each lets others go, as far as there is room by then. So
whoever ends several at once writes down in which order; the gates of keys are opened in it.
"""

from collections import Counter
from collections.abc import Collection, Container, Iterator, Sequence

from tickwork.model.definition import Definition
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import TASK_REMOVED, AfterRun, Ended
from tickwork.stores.redis.changing import Change, traces
from tickwork.stores.redis.entries import offer_entry
from tickwork.stores.redis.layout import word
from tickwork.stores.redis.session import Session
from tickwork.stores.redis.texts import KeptTask

__all__ = ["Departures", "cancelled", "let_go", "offer_again"]

_Key = tuple[str, int]
"""A task: the word of its id, and its generation."""

_NO_KEY = ("0", "0", "")
"""Rank, limit and key of a queued run that has none."""


class Departures:
    """The runs that end in a step, in order; `count` of them so far.

    `steps` says of each task at which counts its runs ended, and `follows` what of that it is told;
    `untold` are those of them that it isn't told of, though it is of others. `left` are runs that
    ended while they were queued, and when.
    """

    def __init__(self) -> None:
        self.count = 0
        self.steps: dict[_Key, list[int]] = {}
        self.follows: dict[_Key, list[Ended]] = {}
        self.untold: Counter[_Key] = Counter()
        self.left: dict[str, int] = {}

    def add(self, task: str, generation: int, ended: Ended | None = None) -> None:
        """Note that a run has ended now, which its task is told if there is something to tell."""
        self.count += 1
        self.steps.setdefault((task, generation), []).append(self.count)
        if ended is not None:
            self.follows.setdefault((task, generation), []).append(ended)


def cancelled(run: RunRecord, reason: str, now_us: int) -> None:
    """Have a run that nobody executes end."""
    run.state, run.reason, run.finished_us = RunState.CANCELLED, reason, now_us
    run.available_us = run.gated_us = None
    run.holds_key = False


def let_go(
    session: Session,
    change: Change,
    gone: Departures,
    *,
    after_run: AfterRun,
    looked_at: Collection[str] = (),
) -> None:
    """Let tasks go on of which some runs have ended; those to be `looked_at` are read for it."""
    read = sorted({task for task, _ in gone.follows} | set(looked_at))
    tasks = session.tasks(read) if read else {}
    for key, steps in gone.steps.items():
        task, generation = key
        kept = tasks.get(task)
        if kept is None or kept.record.generation != generation:
            change.over += (task, str(generation), str(len(steps)))
            continue
        before = traces(kept)
        told = gone.follows.get(key)
        if told and isinstance(kept.record.definition, Definition):
            _follow(kept.record, len(steps) - gone.untold[key], told, after_run)
        _release(session, change, kept, gone)
        kept.record.revision += 1
        change.move(task, before, kept)


def _follow(record: TaskRecord, over: int, told: Sequence[Ended], after_run: AfterRun) -> None:
    """Have a task move on, for which so many runs less are active."""
    active, queued = record.active, record.queued
    record.active -= over
    after_run(record, told)
    record.active, record.queued = active, queued


def _release(session: Session, change: Change, kept: KeptTask, gone: Departures) -> None:
    """Count the runs of a task that have ended; let as many queued ones go as may run then."""
    task, definition = kept.record, kept.record.definition
    limit = definition.max_instances if isinstance(definition, Definition) else 1
    steps = gone.steps[kept.id_word, task.generation]
    left = set(steps).intersection(gone.left.values())
    queued = task.queued - len(left)
    room = min(limit - (task.active - len(steps)) + queued, queued)
    waiting = _queued(session, kept, room + len(left), gone.left) if room > 0 else iter(())
    for step in steps:
        task.active -= 1
        task.queued -= step in left
        while task.active - task.queued < limit:
            words = next(waiting, None)
            if words is None:
                break
            task.queued -= 1
            _unqueue(change, words, step)


def _queued(
    session: Session, kept: KeptTask, limit: int, left: Container[str]
) -> Iterator[Sequence[str]]:
    """Yield the first queued runs of a task, but for those that have just left, as words."""
    words = f"{kept.id_word}\n{kept.record.generation}"
    for entry in session.entries("queues", words, limit):
        if entry[3] not in left:
            yield entry


def _unqueue(change: Change, entry: Sequence[str], step: int) -> None:
    """Let a queued run go: it is available, or waits for its key."""
    task, _, due, run_id, executor, function, *others = entry
    change.remove("queues", "\n".join(entry))
    rank, limit, key = (*others, *_NO_KEY[len(others) :])
    if len(others) < len(_NO_KEY):
        change.add("available", offer_entry((executor, rank, due, run_id, task, function)))
        change.head(run_id, f"0 A 0 {due}")
        change.hints = True
        return
    waiter = f"{key}\n{rank}\n{due}\n{run_id}\n{limit}\n{executor}\n{task}\n{function}"
    change.gate(step, "wait", key, waiter)
    change.head(run_id, f"0 G 0 {due}\t{key}")


def offer_again(  # noqa: PLR0917  one step of two others
    change: Change,
    run: RunRecord,
    task: KeptTask | None,
    available_us: int,
    now_us: int,
    step: int = 0,
) -> None:
    """Make a run pending again; one whose task is gone meanwhile is over."""
    if run.definition is None:
        # Whatever changes of the task but that it is there.
        there = f"{task.record.generation} " if task is not None else ""
        change.expect("tasks", word(run.task_id), there)
    alike = task is not None and task.record.generation == run.generation
    if alike or run.definition is not None:
        run.state = RunState.PENDING
        run.available_us = available_us
        change.offer(run)
    else:
        if run.holds_key:
            change.leave(run, step)
        cancelled(run, TASK_REMOVED, now_us)
    change.rewrite(run)
