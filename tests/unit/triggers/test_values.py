"""What holds for every kind of trigger: frozen values with a JSON form and a text for people."""

import copy
import json
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from tickwork.errors import InvalidTriggerError
from tickwork.interfaces import Anchored, Arithmetic, InstantTrigger, Trigger, Zoned
from tickwork.triggers import (
    AndTrigger,
    CalendarIntervalTrigger,
    CronTrigger,
    DateTrigger,
    IntervalTrigger,
    OrTrigger,
    ShutdownTrigger,
)
from tickwork.triggers.kinds import BUILT_IN, load_trigger

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
BERLIN = "Europe/Berlin"
TEXTS: dict[Any, str] = {
    DateTrigger("2026-12-24 18:00", BERLIN): "once at 2026-12-24 18:00 Europe/Berlin",
    DateTrigger("2026-12-24 18:00:30"): "once at 2026-12-24 18:00:30",
    DateTrigger(): "once, now",
    DateTrigger().anchored(NOON): "once at 2026-05-01 12:00 UTC",
    IntervalTrigger(minutes=5): "every 5 minutes",
    IntervalTrigger(hours=1): "every hour",
    IntervalTrigger(seconds=90): "every 90 seconds",
    IntervalTrigger(seconds=0.25): "every 0.25 seconds",
    IntervalTrigger(days=1, end_at="2026-05-01", timezone=BERLIN): (
        "every day until 2026-05-01 00:00 Europe/Berlin"
    ),
    IntervalTrigger(weeks=2, start_at=NOON): "every 2 weeks from 2026-05-01 12:00 UTC",
    IntervalTrigger(hours=2).anchored(NOON): "every 2 hours",
    CronTrigger.from_crontab("0 8 * * mon-fri", BERLIN): "cron 0 8 * * mon-fri (Europe/Berlin)",
    CronTrigger.from_crontab("*/10 0 8 * * *"): "cron */10 0 8 * * *",
    CronTrigger(hour=8, minute="*/5"): "cron hour=8 minute=*/5",
    CronTrigger(day="last sun", timezone="+02:00"): "cron day='last sun' (+02:00)",
    CronTrigger(second="*", start_at=NOON): "cron second=* from 2026-05-01 12:00 UTC",
    CronTrigger(day=1, hour=0): "cron day=1",
    CronTrigger(minute="*"): "cron minute=*",
    CalendarIntervalTrigger(months=1, hour=8, start_date="2026-01-31", timezone=BERLIN): (
        "every month at 08:00 from 2026-01-31 (Europe/Berlin)"
    ),
    CalendarIntervalTrigger(years=2, days=3, second=5, end_date=date(2030, 1, 1)): (
        "every 2 years and 3 days at 00:00:05 until 2030-01-01"
    ),
    CalendarIntervalTrigger(weeks=1).anchored(NOON): "every week at 00:00",
    ShutdownTrigger(): "at shutdown",
    AndTrigger([IntervalTrigger(hours=1), CronTrigger(day=1)], 5): (
        "all of (every hour; cron day=1) within 5 s"
    ),
    OrTrigger([IntervalTrigger(hours=1), ShutdownTrigger()]): "any of (every hour; at shutdown)",
}
EVERY_KIND = list(TEXTS)
ids = [str(trigger) for trigger in EVERY_KIND]
each_trigger = pytest.mark.parametrize("trigger", EVERY_KIND, ids=ids)


@each_trigger
def test_it_comes_back_equal_from_json(trigger: Any) -> None:
    data = json.loads(json.dumps(trigger.to_json()))
    again = load_trigger(data)
    assert data["version"] == 1
    assert data["kind"] == trigger.kind
    assert again == trigger
    assert hash(again) == hash(trigger)
    assert again.to_json() == trigger.to_json()
    assert repr(again) == repr(trigger)
    assert (
        again.next_fire_time(NOON) == trigger.next_fire_time(NOON)
        if trigger.kind != "and"
        else True
    )


@each_trigger
def test_it_has_a_text_for_people(trigger: Any) -> None:
    assert str(trigger) == TEXTS[trigger]


@each_trigger
def test_its_repr_makes_it_again(trigger: Any) -> None:
    classes = {cls.__name__: cls for cls in BUILT_IN.values()}
    if ".anchored" in repr(trigger):
        made = eval(repr(trigger).split(".anchored")[0], classes)  # noqa: S307 - our own text
        assert made.anchored(NOON) == trigger
    else:
        assert eval(repr(trigger), classes) == trigger  # noqa: S307 - our own text


@each_trigger
def test_it_is_frozen_and_survives_copies(trigger: Any) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        trigger.jitter = 1
    with pytest.raises(AttributeError, match="immutable"):
        del trigger.jitter
    assert not hasattr(trigger, "__dict__")
    for again in (pickle.loads(pickle.dumps(trigger)), copy.copy(trigger), copy.deepcopy(trigger)):  # noqa: S301 - our own bytes
        assert again == trigger
        assert str(again) == str(trigger)


def test_all_are_different() -> None:
    assert len(set(EVERY_KIND)) == len(EVERY_KIND)
    assert all((one == other) == (one is other) for one in EVERY_KIND for other in EVERY_KIND)
    assert all(trigger != "something else" for trigger in EVERY_KIND)


@each_trigger
def test_it_has_the_powers_of_its_kind(trigger: Any) -> None:
    assert isinstance(trigger, Trigger)
    calculable = trigger.kind not in {"and", "or", "shutdown"}
    assert isinstance(trigger, Arithmetic) == calculable
    assert isinstance(trigger, InstantTrigger) == calculable
    assert isinstance(trigger, Zoned) == (trigger.kind != "shutdown")
    assert isinstance(trigger, Anchored) == (trigger.kind not in {"cron", "shutdown"})


@each_trigger
def test_data_of_another_kind_or_version_is_refused(trigger: Any) -> None:
    data = trigger.to_json()
    with pytest.raises(InvalidTriggerError, match=r"version 2.*reads version 1"):
        type(trigger).from_json({**data, "version": 2})
    with pytest.raises(InvalidTriggerError, match="Not the data of a trigger of kind"):
        type(trigger).from_json({**data, "kind": "other"})
    with pytest.raises(InvalidTriggerError, match="No built-in trigger is of kind 'other'"):
        load_trigger({**data, "kind": "other"})


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "interval", "version": 1},
        {"kind": "interval", "version": 1, "interval_us": True},
        {"kind": "interval", "version": 1, "interval_us": 0},
        {"kind": "interval", "version": 1, "interval_us": "5"},
        {"kind": "cron", "version": 1},
        {"kind": "cron", "version": 1, "fields": {}},
        {"kind": "cron", "version": 1, "fields": {"hour": "8", "minuts": "8"}},
        {"kind": "cron", "version": 1, "crontab": 5},
        {"kind": "calendar", "version": 1},
        {"kind": "calendar", "version": 1, "days": "1"},
        {"kind": "and", "version": 1},
        {"kind": "or", "version": 1, "triggers": []},
        {"kind": "or", "version": 1, "triggers": [5]},
        {"kind": "date", "version": 1, "run_at": 5},
        {"kind": None, "version": 1},
        {"kind": ["date"], "version": 1},
        {},
    ],
)
def test_broken_data_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidTriggerError):
        load_trigger(data)


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, None), (0, 0.0), (1.5, 1.5), (timedelta(minutes=1), 60.0)]
)
def test_jitter_is_kept_for_the_task_and_no_part_of_the_value(given: Any, seconds: Any) -> None:
    for make in (
        lambda **k: DateTrigger(NOON, **k),
        lambda **k: IntervalTrigger(hours=1, **k),
        lambda **k: IntervalTrigger.from_text("1h", **k),
        lambda **k: CronTrigger(hour=1, **k),
        lambda **k: CronTrigger.from_crontab("0 1 * * *", **k),
        lambda **k: CalendarIntervalTrigger(days=1, **k),
        lambda **k: OrTrigger([ShutdownTrigger()], **k),
        lambda **k: AndTrigger([ShutdownTrigger()], **k),
        ShutdownTrigger,
    ):
        trigger = make(jitter=given)
        assert trigger.jitter == seconds
        assert trigger == make()
        assert trigger.to_json() == make().to_json()
        assert pickle.loads(pickle.dumps(trigger)).jitter == seconds  # noqa: S301 - our own bytes
        if isinstance(trigger, Anchored):
            assert trigger.anchored(NOON).jitter == seconds


@pytest.mark.parametrize("jitter", [-1, True, "5", float("nan"), float("inf"), 10**400, [], b"1"])
def test_bad_jitters_are_refused(jitter: Any) -> None:
    with pytest.raises(InvalidTriggerError, match="jitter must be a number of seconds, 0 or more"):
        CronTrigger(hour=1, jitter=jitter)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("UTC", UTC),
        ("Z", timezone.utc),  # noqa: UP017 - that it is the same
        ("+00:00", "UTC"),
        ("+0200", timezone(timedelta(hours=2), "CEST")),
        ("-03:30", timezone(-timedelta(hours=3, minutes=30))),
    ],
)
def test_spellings_of_one_zone_are_equal(one: Any, other: Any) -> None:
    assert CronTrigger(hour=1, timezone=one) == CronTrigger(hour=1, timezone=other)
