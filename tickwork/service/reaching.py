"""The one place where the service reaches behind a scheduler's public methods.

Stores have powers for people and programs that look at many things (pages by cursor, counts,
documents) which an application doesn't need, and the scheduler's own methods don't show.
"""

# ruff: noqa: SLF001  that is what this module is for

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tickwork.errors import NotFoundError, SchedulerStateError
from tickwork.interfaces import Executor, Keeping, Reader, Store, Trigger
from tickwork.model.definition import Definition
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.snapshots import RunInfo, TaskInfo, run_info, task_info
from tickwork.scheduler.scheduler import Scheduler

__all__ = ["Reach"]


class Reach:
    """A scheduler's parts, by name."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    @property
    def stores(self) -> Mapping[str, Store]:
        """The stores by name, whether they are open or not."""
        return self._scheduler._stores

    @property
    def executors(self) -> Mapping[str, Executor]:
        """The executors by name."""
        return self._scheduler._executors

    @property
    def declared(self) -> Sequence[str]:
        """The functions that the application has declared tasks of, by decorators."""
        return sorted(self._scheduler._book.decorated_functions)

    @property
    def keeping(self) -> Keeping:
        """Where documents are kept: the default store, or this process where that keeps none."""
        for name in ("default", "local"):
            store = self.stores[name]
            if isinstance(store, Keeping):
                return store
        raise SchedulerStateError("none of the stores keeps documents; update them")

    @property
    def remembers(self) -> bool:
        """Whether documents outlive the process."""
        store = self.stores["default"]
        return isinstance(store, Keeping) and store.persistent

    def now_us(self, store: str = "default") -> int:
        """Return the present instant by a store's clock."""
        return self._scheduler._book.now_us(store)

    def new_id(self) -> str:
        """Return an id; later ones sort behind it."""
        return self._scheduler._book.new_id()

    def names(self, store: str | None) -> list[str]:
        """Return the stores that are meant: the one that is named, or all.

        Raises:
            NotFoundError: there is no such store.
            SchedulerStateError: the scheduler isn't connected.
        """
        if self._scheduler.state == "new":
            raise SchedulerStateError("the scheduler isn't connected to its stores yet")
        if store is None:
            return list(self.stores)
        if store not in self.stores:
            raise NotFoundError(
                f"there is no store {store!r}; this scheduler has {', '.join(self.stores)}"
            )
        return [store]

    def reader(self, store: str) -> Reader:
        """Return a store as one that can be read."""
        return self._scheduler._book.reader(store)

    def store_of(self, task_id: str, store: str | None) -> str:
        """Return the name of the store that has a task."""
        return self._scheduler._book.store_of(task_id, store)

    def record(self, task_id: str, store: str | None) -> tuple[TaskRecord, str]:
        """Return a task, and the name of its store."""
        name = self.store_of(task_id, store)
        record, _ = self._scheduler._book.record(name, task_id)
        return record, name

    def task_infos(self, records: Sequence[TaskRecord], store: str) -> list[TaskInfo]:
        """Return views of tasks, with why no node can execute them."""
        infos = [task_info(record, store) for record in records]
        return self._scheduler._book.explained(infos, store)

    def run_infos(self, found: Sequence[tuple[RunRecord, str]]) -> list[RunInfo]:
        """Return views of runs, each given with the name of its store."""
        definitions = self._scheduler._book.definitions_of(found)
        return [
            run_info(self._scheduler._seen(run, name), name, definitions[run.id])
            for run, name in found
        ]

    def settled(self, trigger: Trigger) -> Trigger:
        """Return a trigger in the time zone in which it would be added."""
        return self._scheduler._declarer.settled(trigger)[0]

    def function_of(self, definition: Definition) -> Callable[..., Any] | None:
        """Return the function of a definition if it is at hand, without importing anything."""
        return self._scheduler._registry.target(definition)
