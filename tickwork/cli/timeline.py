"""`tickwork timeline`: what tasks did and will do, as a line for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import typer

from tickwork.cli.desk import desk, gathered
from tickwork.cli.moments import moment_text
from tickwork.cli.options import Where
from tickwork.cli.terminal import Terminal, terminal_of
from tickwork.model.policies import RunState, ScheduleState
from tickwork.service.models import RunFilter, RunSummary, TaskFilter, TaskView

__all__ = ["show_timeline"]

_NARROWEST = 20
_USUAL = 100
_MOST_RUNS = 1_000
_MOST_FIRES = 100
_LONGEST_NAME = 30

# What is worse hides what is better, where both are in the same place.
_MARKS = {
    RunState.COMPLETED: ("●", "green"),
    RunState.PENDING: ("▷", "cyan"),
    RunState.RUNNING: ("▶", "cyan"),
    RunState.SKIPPED: ("○", "yellow"),
    RunState.CANCELLED: ("○", "yellow"),
    RunState.MISSED: ("○", "yellow"),
    RunState.TIMEOUT: ("✗", "red"),
    RunState.FAILED: ("✗", "red"),
    RunState.LOST: ("✗", "red"),
}
_RANK = {state: rank for rank, state in enumerate(_MARKS)}
_FIRE = ("◌", "")
_LEGEND = (
    "● completed  ✗ failed, timeout, lost  ○ missed, skipped, cancelled  ▶ running  ◌ will fire"
)


class _Line(NamedTuple):
    """A task, its runs and its fires to come within the time that is shown."""

    task: TaskView
    runs: Sequence[RunSummary]
    fires: Sequence[datetime]


class _Span(NamedTuple):
    """The time that is shown, over so many places."""

    start: datetime
    now: datetime
    end: datetime
    places: int

    def place(self, moment: datetime) -> int | None:
        """Return where an instant stands, None for one that isn't shown."""
        if not self.start <= moment <= self.end:
            return None
        share = (moment - self.start) / (self.end - self.start)
        return min(int(share * self.places), self.places - 1)


def show_timeline(  # noqa: PLR0917  where, what and how much
    context: typer.Context,
    where: Where,
    task_ids: Sequence[str],
    hours: float,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Print what tasks did in the last hours, and will do in the next ones."""
    terminal = terminal_of(context)
    now, reach = terminal.now, timedelta(hours=hours)
    with desk(where, terminal.clock) as it:
        if task_ids:
            tasks = [it.ask.get_task(task_id) for task_id in task_ids]
        else:
            ask = partial(it.ask.list_tasks, TaskFilter(), sort="id")
            tasks, _ = gathered(ask, limit)
        lines = []
        for task in tasks:
            filters = RunFilter(task=task.id, since=now - reach)
            runs, _ = gathered(partial(it.ask.list_runs, filters), _MOST_RUNS)
            fires: list[datetime] = []
            if task.schedule_state is ScheduleState.SCHEDULED:
                found = it.ask.preview_task(task.id, _MOST_FIRES, store=task.store)
                fires = [each for each in found if now <= each <= now + reach]
            lines.append(_Line(task, runs, fires))
    if as_json:
        terminal.json(_data(lines, now - reach, now, now + reach))
    elif not lines:
        terminal.say("No tasks.")
    else:
        _print(terminal, lines, now, reach)


def _data(
    lines: Sequence[_Line], start: datetime, now: datetime, end: datetime
) -> dict[str, object]:
    return {
        "from": _utc(start),
        "now": _utc(now),
        "until": _utc(end),
        "tasks": [
            {
                "id": line.task.id,
                "schedule_state": line.task.schedule_state.value,
                "runs": [
                    {
                        "id": run.id,
                        "at": _utc(_moment(run)),
                        "status": run.status.value,
                        "fire_count": run.fire_count,
                        "reason": run.reason,
                    }
                    for run in reversed(line.runs)
                ],
                "fires": [_utc(each) for each in line.fires],
            }
            for line in lines
        ],
    }


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _moment(run: RunSummary) -> datetime:
    return run.fire_time or run.started_at or run.created_at


def _print(terminal: Terminal, lines: Sequence[_Line], now: datetime, reach: timedelta) -> None:
    from rich.text import Text

    wide = min(max(len(line.task.id) for line in lines), _LONGEST_NAME)
    console_width = terminal.console().width
    room = min(console_width, _USUAL + wide) if console_width > 0 else _USUAL
    span = _Span(now - reach, now, now + reach, max(room - wide - 2, _NARROWEST))
    start, end = (moment_text(each, terminal.zone)[:16] for each in (span.start, span.end))
    middle = moment_text(now, terminal.zone)[11:16]
    half = span.places // 2
    axis = f"{start:<{half - 2}}{middle}".ljust(span.places - len(end)) + end
    terminal.say(f"{'':<{wide}}  {axis}")
    for line in lines:
        name = line.task.id if len(line.task.id) <= wide else f"{line.task.id[: wide - 1]}…"
        terminal.say(Text.assemble(f"{name:<{wide}}  ", *_cells(line, span)))
    terminal.say("", _LEGEND)


def _cells(line: _Line, span: _Span) -> Iterator[tuple[str, str]]:
    worst: dict[int, RunState] = {}
    for run in line.runs:
        place = span.place(_moment(run))
        if place is not None:
            known = worst.get(place)
            if known is None or _RANK[run.status] > _RANK[known]:
                worst[place] = run.status
    coming = {span.place(each) for each in line.fires}
    middle = span.places // 2
    for place in range(span.places):
        if place in worst:
            yield _MARKS[worst[place]]
        elif place in coming:
            yield _FIRE
        else:
            yield ("│" if place == middle else "·", "dim")
