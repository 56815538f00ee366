"""What can be done to many tasks at once: first counted, then done."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tickwork.errors import InvalidInputError, TaskNotFoundError, TickworkError
from tickwork.model.instants import to_us
from tickwork.service.errors import CountChangedError
from tickwork.service.models import BulkRequest, BulkResult, Failure, Pause, TaskView
from tickwork.service.operations.tasks import TaskOperations
from tickwork.service.roles import Action

__all__ = ["BulkOperations", "check_count"]

_SAMPLE = 20
_PAGE = 500
_ACTIONS = {
    "pause": Action.TASKS_PAUSE,
    "resume": Action.TASKS_RESUME,
    "run": Action.TASKS_RUN,
    "remove": Action.TASKS_REMOVE,
}


class BulkOperations(TaskOperations):
    """Doing the same to all tasks that a filter finds."""

    def bulk_tasks(self, request: BulkRequest) -> BulkResult:
        """Pause, resume, run or remove all tasks that a filter finds; or only count them.

        One that fails doesn't keep the others from it.

        Raises:
            CountChangedError: they aren't as many any more as `expected_count` says.
        """
        if request.action != "pause" and (request.reason or request.until):
            raise InvalidInputError("`reason` and `until` are about pausing")
        self._check_until(request)
        action = _ACTIONS[request.action]
        self._require(action, "bulk")
        count = self.count_tasks(request.filter)
        sample = [task.id for task in self.list_tasks(request.filter, limit=_SAMPLE).items]
        if request.dry_run:
            return BulkResult(count=count, sample=sample, applied=False)
        check_count(request.expected_count, count, "tasks")
        found = list(self._found_tasks(request))
        done, failed = 0, []
        with self._doing(action, f"bulk: {len(found)} tasks", _said(request)) as doing:
            for task in found:
                problem = self._try(self._deed(request, task))
                done += problem is None
                if problem is not None:
                    failed.append(Failure(id=task.id, error=problem))
            doing.after = {
                "done": done,
                "failed": len(failed),
                "tasks": [t.id for t in found][:_PAGE],
            }
        return BulkResult(count=count, sample=sample, applied=True, done=done, failed=failed)

    def _check_until(self, request: BulkRequest) -> None:
        """Refuse at once what each of many tasks would refuse."""
        if request.until is not None and to_us(request.until) <= self.reach.now_us():
            raise InvalidInputError(f"until={request.until.isoformat()} is not after now")

    def _found_tasks(self, request: BulkRequest) -> Iterator[TaskView]:
        """Yield what a filter finds; in the order of ids, so that changes don't move them."""
        cursor: str | None = None
        while True:
            page = self.list_tasks(request.filter, limit=_PAGE, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def _deed(self, request: BulkRequest, task: TaskView) -> Callable[[], object]:
        scheduler, where = self.scheduler, {"store": task.store}
        match request.action:
            case "pause":
                pause = Pause(reason=request.reason, until=request.until)
                return lambda: self._pause(task, pause)
            case "resume":
                return lambda: self._go_on(task, scheduler.resume_task)
            case "run":
                return lambda: scheduler.run_task(task.id, **where)
            case "remove":
                return lambda: self._go_on(task, scheduler.remove_task)

    def _pause(self, task: TaskView, pause: Pause) -> None:
        self.scheduler.pause_task(
            task.id, reason=pause.reason, until=pause.until, store=task.store
        )  # fmt: skip
        self._pauses(task.store).note(task.id, self.actor.name, pause)

    def _go_on(self, task: TaskView, deed: Callable[..., None]) -> None:
        """Do something after which it doesn't matter any more who paused a task."""
        deed(task.id, store=task.store)
        if task.paused_by is not None:
            self._pauses(task.store).forget(task.id)

    @staticmethod
    def _try(deed: Callable[[], object]) -> str | None:
        try:
            deed()
        except TaskNotFoundError:
            return "it was removed meanwhile"
        except TickworkError as error:
            return str(error)
        return None


def _said(request: BulkRequest) -> dict[str, object]:
    said: dict[str, object] = request.model_dump(mode="json", exclude_unset=True)
    return said


def check_count(expected: int | None, count: int, what: str) -> None:
    """Refuse what would now hit another number of things than was shown.

    Raises:
        InvalidInputError: no number is given.
        CountChangedError: it is another one.
    """
    if expected is None:
        raise InvalidInputError(
            f"give the number of {what} that a dry run returned as `expected_count`, now {count}"
        )
    if expected != count:
        raise CountChangedError(
            f"it would be {count} {what} now, not {expected}; look at them again, and repeat it"
        )
