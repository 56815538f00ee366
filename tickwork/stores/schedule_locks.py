"""Locks for the asking, as other schedulers' back ends have them."""

from uuid import uuid4

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Locking
from tickwork.model.instants import read_seconds
from tickwork.model.locks import LockRequest
from tickwork.model.standard import is_unicode

__all__ = ["ScheduleLocks"]

_LONGEST_KEY = 170


class ScheduleLocks:
    """A store that gives each key to one caller at a time."""

    def acquire_schedule_lock(self: Locking, key: str, ttl: float) -> bool:
        """Return whether the caller is the one that has this key now.

        Nobody else has it within the next `ttl` seconds, by the store's clock; then it is free by
        itself. Any text of at most 170 characters is a key.

        Raises:
            InvalidInputError: a key that is no such text, or a `ttl` that isn't positive.
            StoreUnavailableError: it isn't known whether the caller has it.
        """
        _check(key)
        owner = uuid4().hex
        request = LockRequest(f"schedule:{key}", owner, read_seconds("ttl", ttl))
        return self.acquire_lock(request).owner == owner


def _check(key: object) -> None:
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY or not is_unicode(key):
        raise InvalidInputError(f"key={key!r:.50} must be a text of 1 to {_LONGEST_KEY} characters")
