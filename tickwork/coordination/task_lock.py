"""A lock for work that is to be done once in a span of time, whichever process does it."""

from __future__ import annotations

from typing import ClassVar

from tickwork.coordination.lock import BaseLock
from tickwork.coordination.place import Home, Place
from tickwork.errors import InvalidInputError
from tickwork.model.instants import read_seconds
from tickwork.model.locks import LockRequest

__all__ = ["TaskLock"]


class TaskLock(BaseLock):
    """A lock that is held for at least and at most so long.

    It isn't renewed: after `max_lock_seconds` others may have it, whether its holder has died or
    only takes long. Given back earlier, it stays taken until `min_lock_seconds` after it was
    acquired. `with task_lock:` doesn't wait: where somebody else has it, or it is still kept,
    it raises `LockHeldError`, and the work isn't to be done.
    """

    waits: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        min_lock_seconds: float,
        max_lock_seconds: float,
        *,
        scheduler: Home | None = None,
        store: str = "default",
        retry_interval: float = 0.1,
    ) -> None:
        super().__init__(
            name, scheduler=scheduler, store=store, retry_interval=retry_interval, on_lost=None
        )
        self.min_lock_us = read_seconds("min_lock_seconds", min_lock_seconds)
        self.max_lock_us = read_seconds("max_lock_seconds", max_lock_seconds)
        if self.min_lock_us > self.max_lock_us:
            raise InvalidInputError(
                "min_lock_seconds must be less than or equal to max_lock_seconds"
            )

    def request(self, place: Place) -> LockRequest:
        """Return a request for one acquisition."""
        return LockRequest(
            self.name,
            place.new_owner(),
            self.max_lock_us,
            place.about(),
            label_us=place.label_us(),
            keep_us=self.min_lock_us,
        )
