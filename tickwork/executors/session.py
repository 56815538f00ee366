"""What executors have in common: a shell that stays, and a session for each life of it.

All that happens between `open` and `stop` lives in a session, so that whatever a former life left
behind (a thread still in its job, a coroutine that refuses to end) can't touch the next one.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from threading import Lock
from typing import ClassVar, Generic, TypeVar

from tickwork.errors import SchedulerStateError
from tickwork.executors.capture import capture
from tickwork.executors.ledger import Ledger
from tickwork.interfaces import ExecutorEnvironment, Leftover
from tickwork.model.jobs import Job

__all__ = ["Session", "SessionExecutor"]


class Session(ABC):
    """One life of an executor, from `open` to `stop`."""

    ledger: Ledger

    def reserve(self, wanted: int) -> int:
        """Set aside up to `wanted` places and return how many."""
        return self.ledger.reserve(wanted)

    def idle(self) -> int:
        """Return how many jobs would start at once."""
        with self.ledger.lock:
            return max(0, self.ledger.places - self.ledger.occupied())

    @abstractmethod
    def start(self, jobs: Sequence[Job]) -> None:
        """Take jobs into reserved places."""

    @abstractmethod
    def stop(self, timeout_s: float) -> Leftover:
        """End this life within `timeout_s` and return what is left of it."""


S = TypeVar("S", bound=Session)


class SessionExecutor(ABC, Generic[S]):
    """The shell of an executor; a subclass says what a session of it is.

    Before `open` and after `stop` it has no places, and giving places back means nothing.
    """

    ends_running: ClassVar[bool]
    """Whether running jobs can be ended: by `cancel`, and by `stop` when its time is over."""

    def __init__(self) -> None:
        self._session: S | None = None
        self._opening = Lock()

    def open(self, environment: ExecutorEnvironment) -> None:
        """Begin to work, in a copy of the calling context for each job.

        Raises:
            SchedulerStateError: it is open already.
        """
        with self._opening:
            if self._session is not None:
                message = f"this {type(self).__name__} is open; give each scheduler one of its own"
                raise SchedulerStateError(message)
            self._session = self._opened(environment)
            capture.hold(self)

    def forsake(self) -> None:
        """Forget a session whose threads stayed behind in the parent of this process."""
        self._session = None
        capture.forsake(self)
        self._opening = Lock()

    def reserve(self, wanted: int) -> int:
        """Set aside up to `wanted` places and return how many; never blocks."""
        session = self._session
        return 0 if session is None else session.reserve(wanted)

    def release(self, places: int) -> None:
        """Give back reserved places.

        Raises:
            SchedulerStateError: more than are reserved.
        """
        session = self._session
        if session is not None:
            session.ledger.release(places)

    def idle(self) -> int:
        """Return how many jobs would start at once."""
        session = self._session
        return 0 if session is None else session.idle()

    def start(self, jobs: Sequence[Job]) -> None:
        """Take jobs into places reserved before; each is reported exactly once.

        Raises:
            SchedulerStateError: the executor isn't open, or fewer places are reserved. No job was
                taken then.
        """
        session = self._session
        if session is None:
            message = f"this {type(self).__name__} is not open; call `open` before handing it jobs"
            raise SchedulerStateError(message)
        session.start(jobs)

    def stop(self, timeout_s: float) -> Leftover:
        """Stop starting jobs, wait up to `timeout_s` for running ones, and return what is left."""
        session = self._session
        if session is None:
            return Leftover([], [])
        leftover = session.stop(timeout_s)
        self._session = None
        capture.let_go(self)
        return leftover

    @abstractmethod
    def _opened(self, environment: ExecutorEnvironment) -> S:
        """Return a new session at work."""
