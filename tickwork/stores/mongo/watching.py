"""Hints that something may have become due, from the change streams of a replica set.

A stream tells of tasks that were added or rescheduled, of runs that became available, and of runs
whose end was asked for. Planning is left out: the task that it moved on is due later, and the runs
that it leased aren't available.
A server that stands alone has no such streams: then there are no hints, and polling does it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event, Thread
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from tickwork.stores.mongo.collection import Document
from tickwork.stores.mongo.database import Database

__all__ = ["Watcher"]

logger = logging.getLogger("tickwork.stores.mongo")

_LOOK_MS = 500
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 30.0
_UNSUPPORTED = frozenset({40573, 115, 59, 303, 13})
"""What servers answer that have no change streams, or none for us."""


class Watcher:
    """A thread that follows the changes of a database until it is stopped."""

    def __init__(self, database: Database, prefix: str, wake: Callable[[], None]) -> None:
        self._inner = database.inner
        self._pipeline = _pipeline(f"{prefix}tasks", f"{prefix}runs")
        self._wake = wake
        self._stopped = Event()
        self._thread = Thread(target=self._follow, name="tickwork-mongo-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop calling; the thread ends by itself soon after."""
        self._stopped.set()

    def _follow(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopped.is_set():
            try:
                for _ in self._heard():
                    pause_s = _FIRST_PAUSE_S
                    self._wake_guarded()
            except OperationFailure as error:
                if error.code in _UNSUPPORTED:
                    logger.debug("no change streams here, polling does it: %s", error)
                    return
                logger.debug("no hints from MongoDB for now: %s", error)
            except PyMongoError as error:
                logger.debug("no hints from MongoDB for now: %s", error)
            except Exception:
                # The top of this thread: hints only make things faster, polling goes on.
                logger.exception("listening for hints failed; will try again")
            self._stopped.wait(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def _heard(self) -> Iterator[None]:
        """Yield when something was changed, and at first."""
        with self._inner.watch(self._pipeline, max_await_time_ms=_LOOK_MS) as stream:
            # What happened before the stream began isn't in it.
            yield
            while stream.alive and not self._stopped.is_set():
                if stream.try_next() is not None:
                    yield

    def _wake_guarded(self) -> None:
        if self._stopped.is_set():
            return
        try:
            self._wake()
        except Exception:
            # Whatever the caller's code raises: the next hint comes.
            logger.exception("waking for a hint failed")


def _pipeline(tasks: str, runs: str) -> Sequence[Mapping[str, Any]]:
    new = {"operationType": {"$in": ["insert", "replace"]}}
    updated = "updateDescription.updatedFields"
    rescheduled = {
        f"{updated}.wake_us": {"$exists": True},
        f"{updated}.outbox.planned": {"$ne": True},
    }
    submitted = {**new, "fullDocument.available_us": {"$exists": True}}
    offered = {f"{updated}.available_us": {"$exists": True}}
    asked = {f"{updated}.cancel_us": {"$exists": True}}
    of_tasks: Document = {"ns.coll": tasks, "$or": [new, rescheduled]}
    of_runs: Document = {"ns.coll": runs, "$or": [submitted, offered, asked]}
    return [{"$match": {"$or": [of_tasks, of_runs]}}]
