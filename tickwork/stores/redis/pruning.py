"""Forgetting, in Redis: look without holding anybody up, then write what is still so."""

from collections.abc import Iterator

from tickwork.model.definition import Definition
from tickwork.model.json_text import to_text
from tickwork.model.policies import ScheduleState
from tickwork.model.steps import PruneRequest
from tickwork.stores.redis.changing import traces
from tickwork.stores.redis.entries import expiry_entry, history_entry
from tickwork.stores.redis.layout import instant_word, word
from tickwork.stores.redis.run_texts import KeptRun
from tickwork.stores.redis.server import split
from tickwork.stores.redis.session import Session, pieces
from tickwork.stores.redis.texts import KeptTask

__all__ = ["prune"]

_PIECE = 500


def prune(session: Session, request: PruneRequest) -> int:
    """Do a store's `prune`."""
    return session.persistently(lambda: _prune(session, request))


def _prune(session: Session, request: PruneRequest) -> int:
    old = _old_runs(session, request)
    finished = _finished_tasks(session, request)
    change = session.change()
    for kept in old:
        run = kept.record
        change.expect("runs", run.id, kept.version)
        change.cut("runs", run.id)
        change.remove("newest", run.id)
        change.remove("history", history_entry(run))
        if run.expires_us is not None:
            change.remove("expiring", expiry_entry(run.id, run.expires_us))
    for task in finished:
        change.expect_length("history", task.id_word, 0)
        change.move(task.id_word, traces(task), None)
    session.commit(change)
    return len(old) + len(finished)


def _old_runs(session: Session, request: PruneRequest) -> list[KeptRun]:
    """Return runs that are over and may be forgotten: expired and aged ones first."""
    old = {kept.record.id: kept for kept in session.expired(request.now_us, request.limit)}
    for kept in _oldest(session):
        run = kept.record
        # Ids begin with the time of creation: all further runs are younger.
        if len(old) >= request.limit or run.created_us >= request.before_us:
            break
        aged = run.expires_us is None and (run.finished_us or 0) < request.before_us
        if kept.flag == "E" and aged:
            old[run.id] = kept
    for task, keep in _long_histories(session, request):
        if len(old) >= request.limit:
            break
        old |= {kept.record.id: kept for kept in _beyond(session, task, keep)}
    return list(old.values())[: request.limit]


def _long_histories(session: Session, request: PruneRequest) -> Iterator[tuple[str, int]]:
    """Yield the tasks that have more runs than are to be kept, with that number."""
    for some in pieces(request.histories.items()):
        words = [word(task_id) for task_id, _ in some]
        [answer] = session.server.run("lengths", to_text(words))
        lengths = map(int, split(answer))
        for task, length, (_, keep) in zip(words, lengths, some, strict=True):
            if length > keep:
                yield task, keep


def _oldest(session: Session) -> Iterator[KeptRun]:
    start = "-"
    while True:
        page = session.oldest(start, _PIECE)
        yield from page
        if len(page) < _PIECE:
            return
        start = f"({page[-1].record.id}"


def _beyond(session: Session, task: str, keep: int) -> list[KeptRun]:
    """Return the runs of a task that are over, but for the newest; the oldest first."""
    over: list[KeptRun] = []
    before: str | None = None
    while True:
        page = session.history(task, _PIECE, before)
        over += [kept for kept in page if kept.flag == "E"]
        if len(page) < _PIECE:
            return over[keep:][::-1]
        before = page[-1].record.id


def _finished_tasks(session: Session, request: PruneRequest) -> list[KeptTask]:
    """Return disposable tasks that finished long ago and have no runs any more."""
    till = instant_word(request.before_us)
    found: list[KeptTask] = []
    start = "-"
    while len(found) < request.limit:
        last, tasks = session.server.run("over", start, till, str(_PIECE))
        found += filter(_is_over, session.tasks(split(tasks)).values())
        if not last:
            break
        start = f"({last.decode()}"
    return found[: request.limit]


def _is_over(kept: KeptTask) -> bool:
    task = kept.record
    return (
        task.state is ScheduleState.FINISHED
        and task.active == 0
        and isinstance(task.definition, Definition)
        and task.definition.disposable
    )
