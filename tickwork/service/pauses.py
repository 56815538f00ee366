"""Who paused which task, kept beside the tasks for all who may see them.

The audit log has it, too, but only admins read that, and it has no index of tasks. So there is a
small document for each task that was paused by way of the service, under the task's id. What code
pauses and resumes behind its back is recognised by a reason or an end that are other ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from tickwork.interfaces import Keeping
from tickwork.model.instants import SECOND, from_us, to_us
from tickwork.model.keeping import DocumentQuery
from tickwork.model.policies import ScheduleState
from tickwork.service.documents import Kept, Shelf, kept_of
from tickwork.service.models import Pause, TaskView
from tickwork.service.passwords import digest

__all__ = ["Pauses"]

_KEPT_US = 400 * 86_400 * SECOND
_MORE = 200
"""How many pauses of other tasks, with ids between those asked for, are read along with them."""


class Pauses:
    """The pauses of the tasks of a store."""

    def __init__(self, keeping: Keeping, store: str, now_us: Callable[[], int]) -> None:
        self._keeping = keeping
        self._kind = f"paused.{digest(store)[:16]}"
        self._shelf = Shelf(keeping, self._kind)
        self._now_us = now_us

    def note(self, task_id: str, name: str, pause: Pause) -> None:
        """Keep that somebody has paused a task."""
        now_us = self._now_us()
        data = {"by": name, "at_us": now_us, **_marks(pause.reason, pause.until)}
        self._shelf.put(task_id, data, expires_us=now_us + _KEPT_US)

    def forget(self, task_id: str) -> None:
        """Forget who paused a task that goes on, or is gone."""
        self._shelf.drop(task_id)

    def named(self, tasks: Sequence[TaskView]) -> list[TaskView]:
        """Return tasks with who paused them; one statement reads it for a page of a list."""
        paused = {
            task.id: task for task in tasks if task.schedule_state is ScheduleState.PAUSED
        }  # fmt: skip
        if not paused:
            return list(tasks)
        found = {kept.key: kept for kept in self._find(paused)}
        return [_named(task, found.get(task.id)) for task in tasks]

    def _find(self, task_ids: Iterable[str]) -> Iterator[Kept]:
        left = sorted(task_ids)
        while left:
            query = DocumentQuery(
                self._kind,
                after=_just_before(left[0]),
                before=f"{left[-1]}\x01",
                limit=len(left) + _MORE,
            )
            page = self._keeping.documents(query)
            yield from map(kept_of, page)
            if len(page) < query.limit:
                return
            left = [task_id for task_id in left if task_id > page[-1].key]


def _marks(reason: str | None, until: datetime | None) -> dict[str, str | int | None]:
    """Return what tells a pause from another one."""
    return {
        "reason": None if reason is None else digest(reason),
        "until_us": None if until is None else to_us(until),
    }


def _named(task: TaskView, kept: Kept | None) -> TaskView:
    if kept is None or task.schedule_state is not ScheduleState.PAUSED:
        return task
    if not _marks(task.paused_reason, task.paused_until).items() <= kept.data.items():
        return task
    if task.created_at is not None and to_us(task.created_at) > kept.data["at_us"]:
        return task
    said = {"paused_by": kept.data["by"], "paused_at": from_us(kept.data["at_us"])}
    return task.model_copy(update=said)


def _just_before(text: str) -> str | None:
    """Return a text that sorts before another one, with next to nothing between them."""
    number = ord(text[-1]) - 1
    if number == 0:
        return text[:-1] or None
    # There are no characters where surrogates are.
    return text[:-1] + chr(0xD7FF if 0xD800 <= number <= 0xDFFF else number)
