"""What follows in SQL when runs are over: for their tasks, and for who waits for their keys."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Update, case, select, update

from tickwork.model.definition import Unreadable
from tickwork.model.records import TaskRecord
from tickwork.model.steps import AfterRun, Ended
from tickwork.stores.sql.gates import Keys, open_gates
from tickwork.stores.sql.many import New
from tickwork.stores.sql.rows import task_of
from tickwork.stores.sql.session import Session, chunks, named

__all__ = ["Ends", "let_go", "lock_tasks"]


@dataclass(slots=True)
class Ends:
    """The runs that ended in a step: how many by task (id and generation), how, and by key.

    Those without a task, of generation 0, aren't counted.
    """

    after_run: AfterRun
    over: Counter[tuple[str, int]] = field(default_factory=Counter)
    follows: dict[tuple[str, int], list[Ended]] = field(default_factory=dict)
    keys: Keys = field(default_factory=Counter)

    def add(self, task_id: str, generation: int, ended: Ended | None) -> None:
        """Count a run, and have its end follow if there is more to say of it."""
        if generation:
            self.over[task_id, generation] += 1
            if ended is not None:
                self.follows.setdefault((task_id, generation), []).append(ended)


def let_go(session: Session, connection: Connection, ends: Ends) -> None:
    """Let tasks go on of which some runs have ended, and the next have the keys of these."""
    going_on = _counted(session, connection, ends) if ends.over else []
    open_gates(session, connection, ends.keys)
    released = Keys()
    if going_on:
        session.database.hint(connection)
    tasks = session.tables.tasks
    for some in chunks(going_on):
        for row in connection.execute(select(tasks).where(tasks.c.id.in_(some))).all():
            task = task_of(row, session.environment.codec)
            released += _go_on(session, connection, task, ends)
    open_gates(session, connection, released)


def _counted(session: Session, connection: Connection, ends: Ends) -> list[str]:
    """Lock the tasks whose runs have ended, count these, and return for which more follows."""
    tasks, over = session.tables.tasks, ends.over
    standing = lock_tasks(session, connection, sorted({task_id for task_id, _ in over}))

    def make(new: New) -> Update:
        return (
            update(tasks)
            .where(tasks.c.id == new["its_id"], tasks.c.generation == new["its_generation"])
            .values(active=tasks.c.active - new["over"])
        )

    rows = [(*key, count) for key, count in sorted(over.items())]
    session.update(connection, ("its_id", "its_generation", "over"), make, rows)
    return [
        row.id
        for row in standing
        if (row.id, row.generation) in over
        and (row.queued or (row.id, row.generation) in ends.follows)
    ]


def lock_tasks(session: Session, connection: Connection, task_ids: Sequence[str]) -> Sequence[Any]:
    """Lock tasks, in one order: two who lock the same ones never wait for each other."""
    tasks = session.tables.tasks
    found = (
        select(tasks.c.id, tasks.c.generation, tasks.c.queued)
        .where(tasks.c.id.in_(named(session, "ids", task_ids)))
        .order_by(tasks.c.id)
        .with_for_update()
    )
    return connection.execute(found).all()


def _go_on(session: Session, connection: Connection, task: TaskRecord, ends: Ends) -> Keys:
    """Move a task on; return the keys of the runs that were released."""
    released = _release(session, connection, task) if task.queued else Keys()
    ended = ends.follows.get((task.id, task.generation))
    if ended is not None and not isinstance(task.definition, Unreadable):
        ends.after_run(task, ended)
        task.revision += 1
    session.update_task(connection, task)
    return released


def _release(session: Session, connection: Connection, task: TaskRecord) -> Keys:
    """Let as many queued runs go as may run now, the oldest first: to their gate, if they have one.

    Return their keys.
    """
    definition = task.definition
    limit = 1 if isinstance(definition, Unreadable) else definition.max_instances
    runs = session.tables.runs
    room = limit - (task.active - task.queued)
    if room <= 0:
        return Keys()
    queued = runs.c.queued_us.is_not(None)
    mine = (runs.c.task_id == task.id, runs.c.generation == task.generation, queued)
    longest = select(runs.c.id, runs.c.key).where(*mine)
    free = connection.execute(longest.order_by(runs.c.queued_us, runs.c.id).limit(room)).all()
    task.queued = task.queued - len(free) if len(free) == room else 0
    keyless = runs.c.key.is_(None)
    for some in chunks(free):
        connection.execute(
            update(runs)
            .where(runs.c.id.in_([row.id for row in some]))
            # One after the other: MySQL goes by what it has changed already.
            .ordered_values(
                (runs.c.available_us, case((keyless, runs.c.queued_us))),
                (runs.c.gated_us, case((~keyless, runs.c.queued_us))),
                (runs.c.awaited_key, runs.c.key),
                (runs.c.queued_us, None),
            )
        )
    return Keys(row.key for row in free if row.key is not None)
