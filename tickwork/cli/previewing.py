"""`tickwork preview`; touches no store."""

import typer

from tickwork.cli.moments import moment_text, relative_text
from tickwork.cli.schedules import read_schedule
from tickwork.cli.terminal import terminal_of
from tickwork.errors import InvalidTriggerError
from tickwork.scheduler.scheduler import Scheduler
from tickwork.wiring import read_zone

__all__ = ["preview_schedule"]


def preview_schedule(
    context: typer.Context, schedule: str, timezone: str, *, count: int, as_json: bool
) -> None:
    """Print the next fire times of a schedule, on the clocks of a time zone."""
    terminal = terminal_of(context)
    trigger = read_schedule(schedule, timezone)
    fires = Scheduler(clock=terminal.clock).preview(trigger, count)
    zone = read_zone(timezone)
    if not fires:
        raise InvalidTriggerError(f"{schedule!r} has no fire time from now on")
    if as_json:
        terminal.json(
            {
                "schedule": schedule,
                "kind": trigger.kind,
                "description": str(trigger),
                "timezone": timezone,
                "fire_times": [each.astimezone(zone).isoformat() for each in fires],
            }
        )
        return
    now = terminal.now
    terminal.say(str(trigger))
    for each in fires:
        away = f"{relative_text(each, now)}: at once" if each <= now else relative_text(each, now)
        terminal.say(f"  {each.astimezone(zone):%a} {moment_text(each, zone)} ({away})")
