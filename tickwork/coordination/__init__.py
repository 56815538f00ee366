"""Locks, task locks and leader elections over the same stores, and locks on files.

All of them are held by a name in a store that processes share, by the store's clock, with a fence
that grows with each holder. `Lock` is for a resource, `TaskLock` for work that must not be done
twice within a span of time, `LeaderElection` for processes of which one does the work.
"""

from tickwork.coordination.election import LeaderElection
from tickwork.coordination.file_lock import FileLockProtected
from tickwork.coordination.hold import Hold
from tickwork.coordination.lock import Lock
from tickwork.coordination.place import Home, Place
from tickwork.coordination.task_lock import TaskLock
from tickwork.errors import LockHeldError, LockLostError

__all__ = [
    "FileLockProtected",
    "Hold",
    "Home",
    "LeaderElection",
    "Lock",
    "LockHeldError",
    "LockLostError",
    "Place",
    "TaskLock",
]
