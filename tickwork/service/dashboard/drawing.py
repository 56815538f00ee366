"""Small drawings as numbers: where templates put the bars of a strip and of a time line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from tickwork.service.dashboard.words import MEANING, moment
from tickwork.service.models import RunSummary

__all__ = ["Bar", "Strip", "TimeLine", "strip_of", "time_line"]

_BARS = 20
_HEIGHT = 20
_WIDTH = 1_000
_BEFORE_NOW = 0.7
"""How much of a time line is past, where there is a future as well."""


class Bar(NamedTuple):
    """A bar: where it stands, what colour its meaning has, and what it says."""

    x: float
    y: float
    width: float
    height: float
    meaning: str
    title: str


class Strip(NamedTuple):
    """The last runs of a task, the newest at the right, and the same in words."""

    bars: list[Bar]
    text: str
    width: int = _BARS * 6
    height: int = _HEIGHT


class TimeLine(NamedTuple):
    """Past and future of a task side by side."""

    past: list[Bar]
    future: list[Bar]
    now_x: float
    text: str
    width: int = _WIDTH
    height: int = 40


def strip_of(runs: Sequence[RunSummary]) -> Strip:
    """Return the strip of runs that are given newest first."""
    shown = list(reversed(runs[:_BARS]))
    first = _BARS - len(shown)
    bars = [_strip_bar(first + place, run) for place, run in enumerate(shown)]
    return Strip(bars, _counted(shown))


def _strip_bar(place: int, run: RunSummary) -> Bar:
    height = _bar_height(run)
    meaning = MEANING[run.status.value]
    title = f"{run.status.value}, {moment(run.fire_time or run.created_at)}"
    return Bar(place * 6, _HEIGHT - height, 4, height, meaning, title)


def _bar_height(run: RunSummary) -> float:
    """Return a height that grows with a run's length: 10 ms are low, an hour is high."""
    if run.started_at is None or run.completed_at is None:
        return _HEIGHT if run.status.value == "running" else 6
    seconds = max((run.completed_at - run.started_at).total_seconds(), 0.01)
    return round(min(max(8 + 2.2 * math.log10(seconds * 100), 8), _HEIGHT), 1)


def _counted(runs: Sequence[RunSummary]) -> str:
    if not runs:
        return "no runs yet"
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.status.value] = counts.get(run.status.value, 0) + 1
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"last {len(runs)}: {told}; newest {runs[-1].status.value}"


def time_line(
    runs: Sequence[RunSummary], fires: Sequence[datetime], now: datetime
) -> TimeLine | None:
    """Return runs, given newest first, and coming fires on one line; None without any."""
    if not runs and not fires:
        return None
    now_x = _now_x(bool(runs), bool(fires))
    begin = min((_begin_of(run) for run in runs), default=now)
    end = max(fires, default=now)
    past = _Scale(begin, now, 0, now_x)
    future = _Scale(now, end, now_x, _WIDTH - 6)
    bars = [_past_bar(run, past) for run in reversed(runs)]
    coming = [_future_bar(fire, future) for fire in fires]
    return TimeLine(bars, coming, now_x, _line_words(runs, fires))


def _now_x(past: bool, future: bool) -> float:  # noqa: FBT001  two halves
    if past and future:
        return _WIDTH * _BEFORE_NOW
    return _WIDTH - 6.0 if past else 6.0


class _Scale(NamedTuple):
    """From instants to places."""

    begin: datetime
    end: datetime
    left: float
    right: float

    def at(self, instant: datetime) -> float:
        length = (self.end - self.begin).total_seconds()
        share = (instant - self.begin).total_seconds() / length if length > 0 else 1.0
        return round(self.left + min(max(share, 0), 1) * (self.right - self.left), 1)


def _begin_of(run: RunSummary) -> datetime:
    return run.first_fire_time or run.fire_time or run.created_at


def _past_bar(run: RunSummary, scale: _Scale) -> Bar:
    left = scale.at(_begin_of(run))
    right = scale.at(run.last_fire_time or run.fire_time or run.created_at)
    meaning = MEANING[run.status.value]
    ranged = run.status.value in {"skipped", "missed"}
    title = f"{run.status.value}, {moment(_begin_of(run))}"
    if run.fire_count > 1:
        title += f" to {moment(run.last_fire_time)}, {run.fire_count} fire times"
    return Bar(left, 14 if ranged else 6, max(right - left, 5), 14 if ranged else 26,
               meaning, title)  # fmt: skip


def _future_bar(fire: datetime, scale: _Scale) -> Bar:
    return Bar(scale.at(fire), 6, 5, 26, "future", f"fires {moment(fire)}")


def _line_words(runs: Iterable[RunSummary], fires: Sequence[datetime]) -> str:
    past = _counted(list(reversed(list(runs))))
    coming = f"{len(fires)} coming fires shown" if fires else "nothing is to come"
    return f"{past}; {coming}"
