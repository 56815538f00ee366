"""Cron against croniter (as Debian's cron) and cronsim, on expressions made at random."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.triggers.oracles import fires_of_croniter, fires_of_cronsim, is_fixed
from tickwork.errors import InvalidTriggerError
from tickwork.triggers import CronTrigger

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


@st.composite
def terms(draw: st.DrawFn, low: int, high: int) -> str:
    first, last = sorted(
        draw(st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True))
    )
    step = draw(st.integers(1, max(1, (high - low) // 2)))
    forms = [f"{first}", f"{first}-{last}", f"{first}-{last}/{step}", f"{first}/{step}"]
    return draw(st.sampled_from(forms))


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    stars = st.one_of(st.just("*"), st.integers(1, (high - low) // 2 + 1).map("*/{}".format))
    lists = st.lists(terms(low, high), min_size=1, max_size=3).map(",".join)
    return st.one_of(stars, lists, st.integers(low, high).map(str))


months = st.one_of(st.just("*"), fields(1, 12), st.sampled_from(MONTHS))
weekdays = st.one_of(
    st.just("*"),
    fields(0, 6),
    st.sampled_from([*WEEKDAYS, "7", "1-7", "0-7", "mon-fri", "fri-sun", "sat-mon"]),
)
month_days = st.one_of(st.just("*"), fields(1, 28), st.sampled_from(["l", "31", "29,30", "15,l"]))
some_fields = st.tuples(fields(0, 59), fields(0, 23), month_days, months, weekdays).map(" ".join)


def fires_at_all(expression: str) -> bool:
    try:
        CronTrigger.from_crontab(expression)
    except InvalidTriggerError:
        day, month = expression.split()[2:4]
        assert day == "31"
        assert month != "*"
        return False
    return True


five_fields = some_fields.filter(fires_at_all)
# cronsim takes no range that passes Sunday, and counts `1/2` up to 7 where croniter stops at 6.
cronsim_fields = five_fields.filter(
    lambda text: (
        not any(word in text.split()[4] for word in ("-sun", "sat-"))
        and not any(
            "/" in term and term[0] != "*" and "-" not in term
            for term in text.split()[4].split(",")
        )
    )
)
placed = st.tuples(
    fields(0, 59),
    fields(0, 23),
    st.just("*"),
    months,
    st.sampled_from(["5#1", "mon#2", "0#5", "l5", "l0", "l1,l3", "1#1,2#2"]),
).map(" ".join)
instants = st.datetimes(datetime(1995, 1, 1), datetime(2035, 1, 1)).map(
    lambda naive: naive.replace(tzinfo=UTC)
)


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """Half of them within hours of a change of clocks of 2026 in Berlin, New York or Lord Howe."""
    change = draw(
        st.sampled_from(
            [
                datetime(2026, 3, 29, 1, tzinfo=UTC),
                datetime(2026, 10, 25, 1, tzinfo=UTC),
                datetime(2026, 3, 8, 7, tzinfo=UTC),
                datetime(2026, 11, 1, 6, tzinfo=UTC),
                datetime(2026, 4, 4, 15, tzinfo=UTC),
                datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
            ]
        )
    )
    near = change + timedelta(seconds=draw(st.integers(-6 * 3600, 6 * 3600)))
    return draw(st.one_of(st.just(near), instants))


def fires_of(trigger: CronTrigger, start: datetime, n: int) -> list[datetime]:
    found: list[datetime] = []
    after = start
    while len(found) < n and (fire := trigger.next_fire_time(after)) is not None:
        found.append(fire)
        after = fire
    return found


@settings(max_examples=400, deadline=None)
@given(five_fields | placed, moments(), st.sampled_from(ZONES))
def test_fire_times_are_those_of_debians_cron(expression: str, start: datetime, key: str) -> None:
    zone = ZoneInfo(key)
    trigger = CronTrigger.from_crontab(expression, zone)
    assert fires_of(trigger, start, 8) == fires_of_croniter(expression, start, zone, 8)


@settings(max_examples=200, deadline=None)
@given(fields(0, 59), five_fields, instants)
def test_seconds_come_first_in_six_fields(second: str, rest: str, start: datetime) -> None:
    expression = f"{second} {rest}"
    trigger = CronTrigger.from_crontab(expression, "UTC", seconds=True)
    expected = fires_of_croniter(expression, start, ZoneInfo("UTC"), 8)
    assert fires_of(trigger, start, 8) == expected


@settings(max_examples=300, deadline=None)
@given(cronsim_fields, instants)
def test_fire_times_are_those_of_cronsim_in_utc(expression: str, start: datetime) -> None:
    trigger = CronTrigger.from_crontab(expression, "UTC")
    assert fires_of(trigger, start, 8) == fires_of_cronsim(expression, start, ZoneInfo("UTC"), 8)


@settings(max_examples=200, deadline=None)
@given(cronsim_fields, moments())
def test_fire_times_are_those_of_cronsim_in_berlin(expression: str, start: datetime) -> None:
    zone = ZoneInfo("Europe/Berlin")
    if start.astimezone(zone).fold and is_fixed(expression):
        start += timedelta(hours=1)  # where cronsim goes back in time
    trigger = CronTrigger.from_crontab(expression, zone)
    expected = list(dict.fromkeys(fires_of_cronsim(expression, start, zone, 9)))[:8]
    expected = [fire for fire in expected if fire > start]
    assert fires_of(trigger, start, len(expected)) == expected


@settings(max_examples=200, deadline=None)
@given(five_fields | placed, moments(), st.sampled_from(ZONES), st.integers(0, 86_400 * 40))
def test_counting_and_looking_back_agree_with_enumeration(
    expression: str, start: datetime, key: str, seconds: int
) -> None:
    trigger = CronTrigger.from_crontab(expression, key)
    end = start + timedelta(seconds=seconds)
    fires = [fire for fire in fires_of(trigger, start, 400) if fire <= end]
    if len(fires) < 400:
        assert trigger.count_between(start, end) == len(fires)
        last = trigger.last_fire_time(end)
        assert last == fires[-1] if fires else last is None or last <= start
    assert all(earlier < later for earlier, later in pairwise(fires))
    for fire in fires[:5]:
        assert trigger.last_fire_time(fire) == fire
        assert trigger.next_fire_time(fire - timedelta(microseconds=1)) == fire
