"""And, or: what they fire at, how they end, and that they always end."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

import pytest

from tests.unit.triggers.test_values import EVERY_KIND
from tickwork.errors import InvalidTriggerError
from tickwork.interfaces import Arithmetic, InstantTrigger, Trigger
from tickwork.triggers import (
    AndTrigger,
    CronTrigger,
    DateTrigger,
    IntervalTrigger,
    OrTrigger,
    ShutdownTrigger,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def fires_of(trigger: Trigger, n: int) -> list[datetime]:
    found = [START]
    while len(found) <= n and (fire := trigger.next_fire_time(found[-1])) is not None:
        found.append(fire)
    return found[1:]


def test_or_fires_whenever_one_does_and_once_where_both_do() -> None:
    trigger = OrTrigger([CronTrigger(hour="*/6"), CronTrigger(hour="*/4")])
    assert [fire.hour for fire in fires_of(trigger, 6)] == [4, 6, 8, 12, 16, 18]


def test_or_ends_when_all_have_ended() -> None:
    dates = [DateTrigger(START + timedelta(days=day)) for day in (2, 1)]
    assert fires_of(OrTrigger([*dates, ShutdownTrigger()]), 9) == [
        START + timedelta(days=1),
        START + timedelta(days=2),
    ]


def test_and_fires_when_all_do() -> None:
    trigger = AndTrigger([CronTrigger(day=13, hour=8), CronTrigger(day_of_week="fri", hour=8)])
    assert [f"{fire:%m-%d}" for fire in fires_of(trigger, 3)] == ["02-13", "03-13", "11-13"]


def test_and_fires_at_the_earliest_of_the_matched_times() -> None:
    one = IntervalTrigger(minutes=7, start_at=START)
    two = IntervalTrigger(minutes=10, start_at=START + timedelta(seconds=2))
    assert fires_of(AndTrigger([one, two], threshold=2), 2) == [
        START + timedelta(minutes=70),
        START + timedelta(minutes=140),
    ]


def test_and_has_a_threshold_of_one_second() -> None:
    triggers = [DateTrigger(START + timedelta(seconds=s)) for s in (5, 6)]
    assert fires_of(AndTrigger(triggers), 2) == [START + timedelta(seconds=5)]
    assert fires_of(AndTrigger(triggers, threshold=0.9), 2) == []
    assert AndTrigger(triggers) == AndTrigger(triggers, timedelta(seconds=1))


def test_and_ends_with_any_of_its_children() -> None:
    assert fires_of(AndTrigger([CronTrigger(hour=8), ShutdownTrigger()]), 2) == []


def test_a_search_without_end_is_given_up() -> None:
    trigger = AndTrigger([CronTrigger(second=0), CronTrigger(second=30)])
    with pytest.raises(InvalidTriggerError, match=r"No common fire time found .* 10,000 steps"):
        trigger.next_fire_time(START)


def test_children_are_anchored_and_read_in_the_zone() -> None:
    trigger = OrTrigger([IntervalTrigger(hours=1), CronTrigger(hour=8)])
    there = trigger.anchored(START).in_timezone(CronTrigger(hour=1, timezone="Asia/Tokyo").timezone)  # type: ignore[arg-type]
    assert there == OrTrigger(
        [
            IntervalTrigger(hours=1).anchored(START),
            CronTrigger(hour=8, timezone="Asia/Tokyo"),
        ]
    )
    assert there.anchored(START + timedelta(days=1)) is there


def test_they_have_no_arithmetic() -> None:
    for trigger in (OrTrigger([CronTrigger(hour=1)]), AndTrigger([CronTrigger(hour=1)])):
        assert isinstance(trigger, Trigger)
        assert not isinstance(trigger, Arithmetic)
        assert not isinstance(trigger, InstantTrigger)


@pytest.mark.parametrize("triggers", [[], None, "ab", [5], [CronTrigger], [CronTrigger(hour=1), 0]])
def test_anything_but_triggers_is_refused(triggers: Any) -> None:
    for combined in (OrTrigger, AndTrigger):
        with pytest.raises(InvalidTriggerError, match=r"triggers must be a list|Not a trigger"):
            combined(triggers)


@pytest.mark.parametrize("threshold", [-1, True, None, float("nan"), float("inf"), "1", 10**400])
def test_bad_thresholds_are_refused(threshold: Any) -> None:
    with pytest.raises(InvalidTriggerError, match="threshold must be seconds"):
        AndTrigger([CronTrigger(hour=1)], threshold)


class Custom:
    kind: ClassVar[str] = "custom"

    def next_fire_time(self, after: datetime) -> datetime | None:
        return after + timedelta(days=1)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "custom", "version": 1}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        assert data["kind"] == cls.kind
        return cls()


def test_custom_children_are_decoded_by_the_loader() -> None:
    data = OrTrigger([Custom()]).to_json()
    with pytest.raises(InvalidTriggerError, match="No built-in trigger is of kind 'custom'"):
        OrTrigger.from_json(data)
    loaded = OrTrigger.from_json(data, load=Custom.from_json)
    assert isinstance(loaded.triggers[0], Custom)


def test_nested_children_come_back_equal() -> None:
    trigger = OrTrigger([AndTrigger(EVERY_KIND, threshold=5), *EVERY_KIND])
    assert OrTrigger.from_json(trigger.to_json()) == trigger
