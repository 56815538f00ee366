"""What Asyncz and APScheduler have in common: a grace, names of stores, tasks with fields."""

from collections.abc import Mapping
from typing import Any, Self

from tickwork.model.policies import Coalesce
from tickwork.scheduler.task import Task
from tickwork.scheduler.tasks import SchedulerTasks

__all__ = ["GRACE_S", "FieldedTask", "described"]

GRACE_S = 1
"""How late a fire time may be there, before it is missed."""

_ALIASES = {"mongodb": "mongo"}


def described(where: Any) -> Any:
    """Return a store as ours are described, if it is a mapping; anything else as it is."""
    if not isinstance(where, Mapping):
        return where
    return {**where, "type": _ALIASES.get(where.get("type", ""), where.get("type"))}


class FieldedTask(Task):
    """A task that answers for its fields: as they stand, or before that as they were said."""

    @classmethod
    def at(
        cls,
        scheduler: SchedulerTasks,
        store: str,
        task_id: str,
        *,
        fn: Any = None,
        trigger: Any = None,
    ) -> Self:
        """Return a task of a store, with what was said of its function."""
        handle = cls(fn, trigger)
        handle._bind(scheduler, store, task_id)
        return handle

    @property
    def args(self) -> list[Any]:
        """The positional arguments, as they are stored."""
        return list(self._field("args") or ())

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments by name, as they are stored."""
        return dict(self._field("kwargs") or {})

    @property
    def executor(self) -> str | None:
        """The name of the executor."""
        name: str | None = self._field("executor")
        return name

    @property
    def max_instances(self) -> int:
        """How many runs there may be at once."""
        return int(self._field("max_instances", 1))

    @property
    def coalesce(self) -> bool:
        """Whether several due fire times become one run."""
        return self._field("coalesce", Coalesce.LATEST) not in {Coalesce.ALL, False}

    @property
    def misfire_grace_time(self) -> float | None:
        """Seconds after which a fire time is too late; None for no limit."""
        seconds: float | None = self._field("misfire_grace_time")
        return seconds

    def _field(self, name: str, default: Any = None) -> Any:
        if self.store:
            return getattr(self.snapshot(), name)
        return self.options.get(name, default)
