"""Methods of single objects, wrapped in place.

Something around a store or an executor would need all the optional powers of the one within, which
the scheduler asks for by `isinstance`. So the object stays what it is, and only what is called on
it goes another way, until that is taken off again. Who wraps nothing pays nothing.
"""

from collections.abc import Callable
from typing import Any

from tickwork.errors import InvalidInputError

__all__ = ["Wrappings"]

Method = Callable[..., Any]


class Wrappings:
    """What was wrapped, so that it can be taken off."""

    def __init__(self) -> None:
        self._done: list[tuple[dict[str, Any], str, Method, Method | None]] = []

    def wrap(self, owner: object, name: str, around: Callable[[Method], Method]) -> None:
        """Have calls of a method go to what `around` makes of it.

        Raises:
            InvalidInputError: the object takes no attributes.
        """
        try:
            own = vars(owner)
        except TypeError as error:
            raise InvalidInputError(
                f"{owner!r} can't be instrumented, since its class has __slots__; leave them out"
            ) from error
        before = own.get(name)
        own[name] = wrapped = around(getattr(owner, name))
        self._done.append((own, name, wrapped, before))

    def take_off(self) -> None:
        """Have everything as it was; what somebody else has wrapped since then stays in theirs."""
        while self._done:
            own, name, wrapped, before = self._done.pop()
            if own.get(name) is not wrapped:
                continue
            if before is None:
                del own[name]
            else:
                own[name] = before
