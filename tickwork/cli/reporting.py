"""What happens in a running scheduler, one line an event."""

import json
import sys
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.text import Text

from tickwork.cli.moments import moment_text, seconds_text
from tickwork.cli.terminal import STATUS_STYLES, Terminal, visible
from tickwork.events import (
    Event,
    RunCancelled,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunLost,
    RunMissed,
    RunRetrying,
    RunSkipped,
    RunStarted,
    RunTakenOver,
    RunTimedOut,
    StoreFailed,
    StoreRecovered,
    TaskUnplannable,
)

__all__ = ["print_json_event", "print_lines"]

_WORDS: dict[type[Event], str] = {
    RunCompleted: "completed",
    RunFailed: "failed",
    RunCancelled: "cancelled",
    RunTimedOut: "timeout",
    RunMissed: "missed",
    RunRetrying: "retrying",
    RunSkipped: "skipped",
    RunLost: "lost",
    RunTakenOver: "taken over",
    StoreFailed: "store down",
    StoreRecovered: "store up",
    TaskUnplannable: "problem",
}
_OTHER_STYLES = {"problem": "red", "store down": "red", "store up": "green"}
_LONGEST = 120


class _Lines:
    """Prints events for people: what became of each run, and what is wrong."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._console: Console = terminal.console()
        self._started: dict[str, datetime] = {}

    def hear(self, event: Event) -> None:
        """Print an event, or remember it for the line of the run's end."""
        if isinstance(event, RunStarted):
            self._started[event.run_id] = event.at
            return
        word = _WORDS.get(type(event))
        if word is None:
            return
        style = STATUS_STYLES.get(word) or _OTHER_STYLES.get(word, "yellow")
        when = moment_text(event.at, self._terminal.zone)
        what = str(getattr(event, "task_id", None) or getattr(event, "store", ""))
        what = visible(what, one_line=True)
        line = Text.assemble(f"{when}  ", (f"{word:<10}", style), f"  {what}")
        details = self._of_run(event) if isinstance(event, RunEvent) else _why(event)
        if details:
            line.append(f"  {visible(details, one_line=True)}")
        self._console.print(line, soft_wrap=True)

    def _of_run(self, event: RunEvent) -> str:
        started = self._started.pop(event.run_id, None)
        said = []
        if started is not None:
            if event.fire_time is not None:
                said.append(f"late {_span(started - event.fire_time)}")
            said.append(f"took {_span(event.at - started)}")
        if event.fire_count > 1:
            said.append(f"{event.fire_count:,} fire times")
        if event.attempt > 1:
            said.append(f"attempt {event.attempt}")
        why = _why(event)
        return "  ".join(filter(None, [", ".join(said), why]))


def _why(event: Event) -> str:
    why = getattr(event, "error", None) or getattr(event, "reason", None) or ""
    line = " ".join(why.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _span(duration: timedelta) -> str:
    # What is started in time may be handed over a moment "before" by the clocks' resolution.
    return seconds_text(max(duration.total_seconds(), 0.0))


def print_lines(terminal: Terminal) -> Any:
    """Return a listener that prints events for people."""
    return _Lines(terminal).hear


def print_json_event(event: Event) -> None:
    """Print an event as a JSON object on a line: its kind, and its fields."""
    data = {each.name: getattr(event, each.name) for each in fields(event)}
    line = json.dumps({"event": type(event).__name__, **data}, ensure_ascii=False, default=_plain)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)
