"""Serve the example tasks on an SQLite file, and tell what happens.

`make run` does what `tickwork serve examples.jobs:scheduler` does: the tasks fire, and pages show
them at the address that it prints. Ctrl-C, and `make run` again: definitions and history were kept,
and what was missed in between is accounted for. `TICKWORK_RUN_SECONDS=15 make run` ends by itself;
`TICKWORK_PORT=8700 make run` listens at another port.
"""

import logging
import os
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

from examples.jobs import DEMO, scheduler
from tickwork.cli import main as tickwork
from tickwork.events import RunEvent, RunStarted, RunTakenOver, TaskUnplannable

__all__ = ["main"]

_MANY = 100_000


class Narrator:
    """Tells of runs as they end; of fire times before `since` with how they were accounted for."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        self.told = 0
        self._started: dict[str, datetime] = {}

    def hear(self, event: RunEvent) -> None:
        """Print a line for each run that came to its end, or was never to be executed."""
        if isinstance(event, RunStarted):
            self._started[event.run_id] = event.at
            return
        self.told += 1
        word = type(event).__name__.removeprefix("Run")
        line = f"{_clock(event.at)}  {event.task_id:<20}{_spaced(word):<12}"
        started = self._started.pop(event.run_id, None)
        late = started - event.fire_time if started and event.fire_time else None
        line += f"{_late(late):>10} late  " if late is not None else f"{'':17}"
        outcome = event.error or event.reason or event.result or ""
        told = [f"{line}{outcome}".rstrip()]
        if event.fire_time is not None:
            told += self._account(event)
        print("\n".join(told), flush=True)  # at once: others print as well

    def _account(self, event: RunEvent) -> list[str]:
        """Say which fire times of the time in between a run stands for, if for any."""
        run = scheduler.get_run(event.run_id)
        first, last = run.first_fire_time, run.last_fire_time
        # One for the very moment of the start may stand for those before it as well.
        if first is None or last is None or first >= self.since:
            return []
        if isinstance(event, RunTakenOver):
            return [f"{'':10}-> was under way when its process died; will be executed again"]
        if not run.started_at:
            how = "recorded, not executed"
        elif event.attempt > 1:
            how = f"attempt {event.attempt} of it"
        else:
            how = "folded into this one run" if run.fire_count > 1 else "executed late"
        what = "1 fire time" if run.fire_count == 1 else f"{run.fire_count} fire times"
        span = _clock(first) if run.fire_count == 1 else f"{_clock(first)} to {_clock(last)}"
        return [f"{'':10}-> from before this start: {what} ({span}), {how}"]


def main() -> None:
    """Serve until SIGINT, SIGTERM or the end of `TICKWORK_RUN_SECONDS`."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("tickwork.runs").setLevel(logging.CRITICAL)  # the narrator tells of these
    DEMO.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    fresh = not (DEMO / "tasks.db").exists()
    with scheduler.connect():
        _tell_what_was_kept(now, fresh=fresh)
    narrator = Narrator(now)
    scheduler.on(RunEvent, narrator.hear)
    scheduler.on(TaskUnplannable, lambda event: print(f"{event.task_id}: {event.reason}"))
    seconds = os.environ.get("TICKWORK_RUN_SECONDS")
    command = ["serve", "examples.jobs:scheduler", *(["--seconds", seconds] if seconds else [])]
    sys.argv[1:] = command
    try:
        tickwork()
    finally:
        print(f"{narrator.told} lines told. Run it again: it goes on where it was.", flush=True)


def _tell_what_was_kept(now: datetime, *, fresh: bool) -> None:
    tasks = scheduler.get_tasks()
    runs = scheduler.get_runs(limit=_MANY)
    if fresh:
        print(f"A new store, {DEMO / 'tasks.db'}, with {len(tasks)} tasks:")
    else:
        states = Counter(run.status.value for run in runs)
        told = ", ".join(f"{count} {state}" for state, count in states.most_common()) or "none"
        print(f"Kept in {DEMO / 'tasks.db'}: {len(tasks)} tasks and {len(runs)} runs ({told}).")
        ended = [run.completed_at for run in runs if run.completed_at is not None]
        print(f"The last one ended {_late(now - max(ended))} ago." if ended else "None has ended.")
    per_task = Counter(run.task_id for run in runs)
    for task in tasks:
        when = "" if task.next_run_time is None else f", due since {_clock(task.next_run_time)}"
        due = when if task.next_run_time is not None and task.next_run_time < now else ""
        print(f"  {task.id:<20}{task.trigger_description}; {per_task[task.id]} runs{due}")


def _clock(moment: datetime) -> str:
    far = abs(datetime.now(UTC) - moment) > timedelta(hours=20)
    return f"{moment.astimezone():{'%Y-%m-%d ' if far else ''}%H:%M:%S}"


def _late(duration: timedelta) -> str:
    seconds = max(duration.total_seconds(), 0.0)
    return f"{seconds * 1_000:.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _spaced(word: str) -> str:
    return "".join(f" {each.lower()}" if each.isupper() else each for each in word).strip()


if __name__ == "__main__":
    main()
