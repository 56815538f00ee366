"""Which functions this process knows, and which tasks it can't deal with for now.

A node plans and leases only what it can execute. Importing a module can take long or do anything,
so it never happens inside a store's step: a task whose function isn't known yet is deferred,
resolved after the step, and planned by the next one. What can't be resolved is left out of the
next queries, and tried again after a while.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

from tickwork.errors import InvalidReferenceError
from tickwork.model.definition import Definition
from tickwork.model.functions import resolve
from tickwork.model.injection import prepared
from tickwork.model.instants import SECOND
from tickwork.model.steps import Eligibility

__all__ = ["Exclusions", "FunctionRegistry"]

_RETRIED_AFTER_US = 60 * SECOND


class FunctionRegistry:
    """Functions by reference; shared by all loops of a scheduler."""

    def __init__(self) -> None:
        self._known: dict[str, Callable[..., Any]] = {}
        self._lock = Lock()

    def register(self, reference: str, function: Callable[..., Any]) -> None:
        """Remember a function that this process has at hand, ready to be called."""
        with self._lock:
            self._known[reference] = prepared(function)

    def forsake(self) -> None:
        """Forget a lock that a thread of the parent of this process may hold."""
        self._lock = Lock()

    def target(self, definition: Definition) -> Callable[..., Any] | None:
        """Return the function of a definition if it is at hand, without importing anything."""
        if definition.target is not None:
            return prepared(definition.target)
        return self._known.get(definition.function)

    def has(self, definition: Definition) -> bool:
        """Whether the function of a definition is at hand."""
        return definition.target is not None or definition.function in self._known

    def known(self, reference: str) -> Callable[..., Any]:
        """Return a function that has been resolved."""
        return self._known[reference]

    def resolve(self, reference: str) -> str | None:
        """Import a function; return why it can't be had, or None.

        Imports run in the calling thread.
        """
        try:
            self.register(reference, resolve(reference))
        except InvalidReferenceError as error:
            return str(error)
        return None


class Exclusions:
    """What one loop leaves out of its queries, until when, and why."""

    def __init__(self) -> None:
        self._functions: dict[str, tuple[int, str]] = {}
        self._tasks: dict[str, tuple[int, str]] = {}
        self._runs: set[str] = set()

    def add_function(self, reference: str, reason: str, now_us: int) -> None:
        """Leave the tasks of a function alone for a while."""
        self._functions[reference] = (now_us + _RETRIED_AFTER_US, reason)

    def forget_function(self, reference: str) -> None:
        """Say that a function can be had after all."""
        self._functions.pop(reference, None)

    def is_news(self, task_id: str, reason: str) -> bool:
        """Whether a task wasn't left alone before for the same reason."""
        known = self._tasks.get(task_id)
        return known is None or known[1] != reason

    def add_task(self, task_id: str, reason: str, now_us: int) -> None:
        """Leave a task alone for a while."""
        self._tasks[task_id] = (now_us + _RETRIED_AFTER_US, reason)

    def leave_runs(self, task_id: str) -> None:
        """Leave the runs of a task alone as well, that is left alone already."""
        self._runs.add(task_id)

    def functions(self) -> dict[str, str]:
        """Return the functions that can't be had, with the reasons."""
        return {reference: reason for reference, (_, reason) in self._functions.items()}

    def forgive(self) -> bool:
        """Try everything again, as something has changed here; return whether that is anything.

        From any thread.
        """
        found = False
        for each in (self._functions, self._tasks):
            for name, (until_us, reason) in list(each.items()):
                found |= until_us > 0
                each[name] = (0, reason)
        return found

    def eligibility(
        self, executors: frozenset[str], now_us: int, *, leasing: bool = False
    ) -> Eligibility:
        """Return what the next queries may touch, to plan or to lease.

        What can't be planned may have runs that can be executed.
        """
        tasks = self._still(self._tasks, now_us)
        if leasing:
            tasks &= self._runs
        return Eligibility(executors, self._still(self._functions, now_us), tasks)

    @staticmethod
    def _still(excluded: dict[str, tuple[int, str]], now_us: int) -> frozenset[str]:
        # Reasons outlive the exclusion, so that a second failure for the same one isn't news.
        return frozenset(name for name, (until_us, _) in excluded.items() if until_us > now_us)
