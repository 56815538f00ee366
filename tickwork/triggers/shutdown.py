"""The trigger of tasks that run when the scheduler stops."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from tickwork.triggers.base import Schedule, checked, read_jitter

__all__ = ["ShutdownTrigger"]


class ShutdownTrigger(Schedule):
    """Fire when the scheduler stops: at no time that could be told before."""

    __slots__ = ()

    kind: ClassVar[str] = "shutdown"

    def __init__(self, *, jitter: float | timedelta | None = None) -> None:
        self._set(jitter=read_jitter(jitter))

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return None."""
        return None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make the trigger that `to_json` described.

        Raises:
            InvalidTriggerError: the data is of another kind or of an unknown version.
        """
        checked(cls, data)
        return cls()

    def _state(self) -> dict[str, Any]:
        return {}

    def _spelled(self) -> str:
        return "ShutdownTrigger()"

    def __str__(self) -> str:
        return "at shutdown"
