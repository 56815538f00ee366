"""Triggers of somebody else's, with all that can be wrong about them."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

START = datetime(2026, 1, 1, tzinfo=UTC)


class Foreign:
    """A trigger that only knows the one question; what it answers is given to it."""

    kind: ClassVar[str] = "foreign"

    def __init__(self, answer: Callable[[datetime], Any]) -> None:
        self.answer = answer
        self.asked = 0

    def next_fire_time(self, after: datetime) -> Any:
        self.asked += 1
        return self.answer(after)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "version": 1}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        raise NotImplementedError

    def __str__(self) -> str:
        return "now and then"


def each_second(after: datetime) -> datetime:
    return after.replace(microsecond=0) + timedelta(seconds=1)


def good_until(last: datetime, then: Callable[[datetime], Any]) -> Foreign:
    """Fire each second up to an instant; misbehave when asked about what comes after it."""
    return Foreign(lambda after: each_second(after) if after < last else then(after))


def raising(_: datetime) -> Any:
    raise RuntimeError("no idea")


def exiting(_: datetime) -> Any:
    raise SystemExit(3)


def hanging(_: datetime) -> Any:
    threading.Event().wait(20)


def naive(after: datetime) -> Any:
    return each_second(after).replace(tzinfo=None)


def backwards(after: datetime) -> Any:
    return after - timedelta(seconds=1)


def standing_still(after: datetime) -> Any:
    return after


def garbage(_: datetime) -> Any:
    return "tomorrow"


def too_late(_: datetime) -> Any:
    return 10**30
