"""Which fire times of a task have a run already.

A task knows the latest of them: what comes after it is free. Anything else was planned before, or
lies where the task was moved back to by hand, and then its whole history is read. Nobody can add a
run meanwhile without changing the task, which is compared.
"""

from collections.abc import Iterable

from tickwork.model.records import RunRecord
from tickwork.model.steps import PlannedRun
from tickwork.stores.redis.session import Session
from tickwork.stores.redis.texts import KeptTask

__all__ = ["free_slots"]

_PAGE = 500


def free_slots(
    session: Session, kept: KeptTask, planned: Iterable[PlannedRun], made: Iterable[RunRecord] = ()
) -> list[PlannedRun]:
    """Return the planned runs whose slot isn't taken, and note theirs.

    `made` are runs of the task that are about to be added, too.
    """
    free = []
    taken: set[int | None] | None = None
    mine: set[int | None] = set()
    for each in planned:
        fire_us = each.fire_us
        if fire_us is not None:
            if kept.slot_us is not None and fire_us <= kept.slot_us:
                if taken is None:
                    taken = _taken_slots(session, kept)
                    taken |= {run.fire_us for run in made if _is_of(run, kept)}
                if fire_us in taken or fire_us in mine:
                    continue
            else:
                kept.slot_us = fire_us
            mine.add(fire_us)
        free.append(each)
    return free


def _taken_slots(session: Session, kept: KeptTask) -> set[int | None]:
    taken: set[int | None] = set()
    before: str | None = None
    while True:
        page = session.history(kept.id_word, _PAGE, before)
        taken |= {run.record.fire_us for run in page if _is_of(run.record, kept)}
        if len(page) < _PAGE:
            return taken
        before = page[-1].record.id


def _is_of(run: RunRecord, kept: KeptTask) -> bool:
    return run.generation == kept.record.generation
