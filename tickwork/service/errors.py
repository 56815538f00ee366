"""What the service refuses on its own account; the rest is said by `tickwork.errors`.

TickworkError
├── UnauthenticatedError          nobody knows who is asking
├── AccessDeniedError             who is asking may not do that
│   └── FunctionNotAllowedError   nobody may call this function from outside the application
├── TooManyAttemptsError          too many wrong passwords: try again later
├── InvalidInputError
│   ├── KeyReusedError            an idempotency key came again with another request
│   └── RequestTooLargeError      it has more bytes than the setting `max_body` lets in
└── ConflictError
    ├── CountChangedError         a bulk action would now hit more or less than was shown
    └── UnderWayError             the same request is being answered at this moment
"""

from tickwork.errors import ConflictError, InvalidInputError, TickworkError

__all__ = [
    "AccessDeniedError",
    "CountChangedError",
    "FunctionNotAllowedError",
    "KeyReusedError",
    "RequestTooLargeError",
    "TooManyAttemptsError",
    "UnauthenticatedError",
    "UnderWayError",
]


class UnauthenticatedError(TickworkError):
    """Nobody knows who is asking: there is no valid session and no valid token."""


class AccessDeniedError(TickworkError):
    """Who is asking may not do that."""


class FunctionNotAllowedError(AccessDeniedError):
    """No task may be made of this function from outside the application."""


class TooManyAttemptsError(TickworkError):
    """There were too many wrong passwords; `wait_s` says when to try again.

    `first` is whether it is the first refusal of these: who goes on isn't told of each time.
    """

    def __init__(self, message: str, wait_s: int, *, first: bool = False) -> None:
        super().__init__(message, wait_s)
        self.wait_s = wait_s
        self.first = first

    def __str__(self) -> str:
        return str(self.args[0])


class KeyReusedError(InvalidInputError):
    """An idempotency key came again, with another request."""


class RequestTooLargeError(InvalidInputError):
    """A request has more bytes than the setting `max_body` lets in."""


class CountChangedError(ConflictError):
    """A bulk action would hit another number of things than was shown before."""


class UnderWayError(ConflictError):
    """A request with the same idempotency key is being answered at this moment."""
