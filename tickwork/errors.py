"""Every error that tickwork raises on purpose, in one tree, by whose fault it is.

TickworkError
├── InvalidInputError (ValueError)        the caller's input can never work
│   ├── TaskConfigurationError            a task was declared in a contradictory way
│   ├── InvalidTriggerError               a schedule that can't be understood or never fires
│   ├── InvalidReferenceError             a function that a persistent store can't refer to
│   └── InvalidArgumentsError             arguments that don't fit, or don't survive storage
├── NotFoundError (LookupError)           no such thing in the store
│   ├── TaskNotFoundError
│   └── RunNotFoundError
├── WaitTimeoutError (TimeoutError)       a run isn't over within the time that somebody waits
├── ConflictError                         the thing is there, in another state than needed
│   ├── ConflictingTaskError              another task has this id
│   ├── LockHeldError                     somebody else has the lock
│   ├── LockLostError                     the lock was lost while it was held
│   ├── StaleEditError                    it was changed since it was looked at
│   └── SchedulerStateError               the scheduler isn't in the state that this call needs
├── StoreError                            the store's side
│   ├── StoreUnavailableError             not reachable or too slow: try again
│   ├── LeaseLostError                    this node was declared dead: register anew
│   └── UnreadableRecordError             a row that this version can't understand; it is kept
└── TaskError                             raised by a task's own code, stored as it is
"""

from collections.abc import Mapping

__all__ = [
    "ConflictError",
    "ConflictingTaskError",
    "InvalidArgumentsError",
    "InvalidInputError",
    "InvalidReferenceError",
    "InvalidTriggerError",
    "LeaseLostError",
    "LockHeldError",
    "LockLostError",
    "NotFoundError",
    "RunNotFoundError",
    "SchedulerStateError",
    "StaleEditError",
    "StoreError",
    "StoreUnavailableError",
    "TaskConfigurationError",
    "TaskError",
    "TaskNotFoundError",
    "TickworkError",
    "UnreadableRecordError",
    "WaitTimeoutError",
]


class TickworkError(Exception):
    """The root of all errors that tickwork raises on purpose."""


class InvalidInputError(TickworkError, ValueError):
    """The caller's input could never work; the message says what to do instead."""


class TaskConfigurationError(InvalidInputError):
    """A task was declared in a contradictory or incomplete way."""


class InvalidTriggerError(InvalidInputError):
    """A schedule can't be understood, or has no fire time at all."""


class InvalidReferenceError(InvalidInputError):
    """A function can't be found again from a text, as a persistent store needs."""


class InvalidArgumentsError(InvalidInputError):
    """Arguments don't fit the function's signature, or would not come back equal from the store."""


class NotFoundError(TickworkError, LookupError):
    """Nothing in the store has this id."""


class TaskNotFoundError(NotFoundError):
    """No task has this id."""


class RunNotFoundError(NotFoundError):
    """No run has this id; it may have been pruned."""


class WaitTimeoutError(TickworkError, TimeoutError):
    """A run isn't over within the time that somebody waits for it; it goes on."""


class ConflictError(TickworkError):
    """The thing exists, in another state than this call needs."""


class ConflictingTaskError(ConflictError):
    """Another task with a different definition has this id."""


class LockHeldError(ConflictError):
    """Somebody else has the lock, or its work has been done for this span of time."""


class LockLostError(ConflictError):
    """A lock was lost while it was held: another holder may have been at work meanwhile."""


class StaleEditError(ConflictError):
    """The task was changed by somebody else since the caller looked at it; nothing was done."""


class SchedulerStateError(ConflictError):
    """The scheduler (or the thread that calls it) isn't in the state that this call needs."""


class StoreError(TickworkError):
    """Something went wrong on the store's side."""


class StoreUnavailableError(StoreError):
    """The store can't be reached, is busy or too slow; whether the step took effect is unknown."""


class LeaseLostError(StoreError):
    """The node was declared dead, or never registered; nothing happened."""


class UnreadableRecordError(StoreError):
    """A stored row can't be understood by this version; it is shown as such and kept."""


class TaskError(TickworkError):
    """An error that a task raises on purpose, stored with its code and details.

    `details` is JSON data.
    """

    def __init__(
        self, code: str, message: str = "", details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(code, message, details)
        self.code = code
        self.message = message
        self.details = dict(details or {})

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code
