"""Listing and showing: exact text for people, the API's own JSON for programs."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.cli import chores
from tests.cli.conftest import Tickwork
from tickwork import Scheduler
from tickwork.cli.terminal import Terminal
from tickwork.service.actors import Actor
from tickwork.service.operations import Operations, runs
from tickwork.service.roles import Role
from tickwork.service.rules import Rules
from tickwork.testing import ManualClock, SteppedScheduler

TASKS = """\
ID        STATE      NEXT FIRE                   FROM NOW       SCHEDULE                      TAGS
greet     scheduled  2026-11-23 11:00:00 +01:00  in 1 h         every hour                    mail
break     scheduled  2026-11-23 11:30:00 +01:00  in 1 h 30 min  every 90 minutes
report    scheduled  2026-11-24 08:00:00 +01:00  in 22 h        cron hour=8 (Europe/Berlin)
new-year  paused     -                                          once at 2027-01-01 00:00 UTC
"""

NARROW_TASKS = """\
ID                     STATE      NEXT FIRE
greet                  scheduled  2026-11-23 11:00:00 +01:00
a-task-with-a-rather-  scheduled  2026-11-23 11:20:00 +01:00
long-id
"""

RUNS = """\
WHEN                        FROM NOW        TASK    STATUS     SOURCE     FIRES    LATE    TOOK  WHY
2026-11-23 10:00:00 +01:00  now             break   failed     scheduled      1  0.0 ms  0.0 ms  \
ValueError: the machine is broken
2026-11-23 10:00:00 +01:00  now             greet   completed  scheduled      1  0.0 ms  0.0 ms
2026-11-23 09:00:00 +01:00  1 h ago         greet   completed  scheduled      1  0.0 ms  0.0 ms
2026-11-23 08:30:00 +01:00  1 h 30 min ago  break   failed     scheduled      1  0.0 ms  0.0 ms  \
ValueError: the machine is broken
2026-11-23 08:00:00 +01:00  2 h ago         report  completed  scheduled      1  0.0 ms  0.0 ms
2026-11-23 08:00:00 +01:00  2 h ago         greet   completed  scheduled      1  0.0 ms  0.0 ms
"""

SHOWN = """\
greet
  state         scheduled
  schedule      every hour
  calls         tests.cli.chores:greet("Ada", times=2)
  executor      threadpool
  tags          mail
  added         2026-11-23 07:00:00 +01:00 (3 h ago)

Next fires:
  Mon 2026-11-23 11:00:00 +01:00 (in 1 h)
  Mon 2026-11-23 12:00:00 +01:00 (in 2 h)
  Mon 2026-11-23 13:00:00 +01:00 (in 3 h)
  Mon 2026-11-23 14:00:00 +01:00 (in 4 h)
  Mon 2026-11-23 15:00:00 +01:00 (in 5 h)

Last runs:
WHEN                        FROM NOW  TASK   STATUS     SOURCE     FIRES    LATE    TOOK
2026-11-23 10:00:00 +01:00  now       greet  completed  scheduled      1  0.0 ms  0.0 ms
2026-11-23 09:00:00 +01:00  1 h ago   greet  completed  scheduled      1  0.0 ms  0.0 ms
2026-11-23 08:00:00 +01:00  2 h ago   greet  completed  scheduled      1  0.0 ms  0.0 ms
"""

PAUSED = """\
new-year
  name          report
  state         paused
  schedule      once at 2027-01-01 00:00 UTC
  calls         tests.cli.chores:report()
  executor      threadpool
  added         2026-11-23 06:00:00 +00:00 (3 h ago)

Next fires: none while it is paused; tickwork resume new-year

No runs yet.
"""


def test_tasks_are_listed_by_their_next_fire(tickwork: Tickwork, store: str) -> None:
    assert tickwork("tasks", "--store", store) == (0, TASKS, "")


def test_the_store_may_come_from_the_environment(
    tickwork: Tickwork, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKWORK_STORE", store)
    assert tickwork("tasks") == (0, TASKS, "")


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--state", "paused"], ["new-year"]),
        (["--tag", "mail"], ["greet"]),
        (["--search", "RE"], ["greet", "break", "report", "new-year"]),
        (["--search", "break_down"], ["break"]),
        (["--sort=-id", "--limit", "2"], ["report", "new-year"]),
        (["--sort", "created_at", "--limit", "1", "--state", "scheduled"], ["break"]),
    ],
)
def test_tasks_are_filtered_sorted_and_limited(
    tickwork: Tickwork, store: str, filters: list[str], ids: list[str]
) -> None:
    said = tickwork("tasks", "--store", store, "--json", *filters)
    assert [task["id"] for task in json.loads(said.out)] == ids


def test_json_of_tasks_and_runs_is_that_of_the_service(tickwork: Tickwork, store: str) -> None:
    with Scheduler(store).connect() as scheduler:
        admin = Actor(name="test", role=Role.ADMIN)
        operations = Operations(scheduler, admin, Rules(hide=()))
        page = operations.list_tasks(sort="next_run_time")
        tasks = [task.model_dump(mode="json") for task in page.items]
        runs = [run.model_dump(mode="json") for run in operations.list_runs().items]
    assert json.loads(tickwork("tasks", "--store", store, "--json").out) == tasks
    assert json.loads(tickwork("runs", "--store", store, "--json").out) == runs
    shown = json.loads(tickwork("show", "greet", "--store", store, "--json").out)
    assert shown == {
        "task": tasks[0],
        "next_fire_times": [f"2026-11-23T{hour}:00:00Z" for hour in range(10, 15)],
        "runs": [run for run in runs if run["task_id"] == "greet"],
    }
    assert shown["task"]["next_run_time"] == "2026-11-23T10:00:00Z"
    assert shown["task"]["args"] == ["Ada"]


def test_runs_are_listed_newest_first(tickwork: Tickwork, store: str) -> None:
    assert tickwork("runs", "--store", store) == (0, RUNS, "")


def test_runs_are_filtered(tickwork: Tickwork, store: str) -> None:
    said = tickwork("runs", "--store", store, "--task", "break", "--status", "failed", "--json")
    runs = json.loads(said.out)
    assert [run["started_at"] for run in runs] == ["2026-11-23T09:00:00Z", "2026-11-23T07:30:00Z"]
    both = ("--status", "failed", "--status", "completed", "--limit", "5")
    assert len(json.loads(tickwork("runs", "--store", store, "--json", *both).out)) == 5


def _suspect(number: int) -> None:
    """Have that many of the runs be such as a node died of."""
    with closing(sqlite3.connect("tasks.db", isolation_level=None)) as connection:
        some = "SELECT id FROM tickwork_runs WHERE task_id = 'greet' ORDER BY id LIMIT ?"
        connection.execute(f"UPDATE tickwork_runs SET suspect = 1 WHERE id IN ({some})", [number])  # noqa: S608


def test_runs_during_which_a_node_died_are_found(tickwork: Tickwork, store: str) -> None:
    asked = ("runs", "--store", store, "--suspect")
    assert tickwork(*asked).out == "sqlite:///tasks.db has no runs like that.\n"
    _suspect(2)
    times = [run["started_at"] for run in json.loads(tickwork(*asked, "--json").out)]
    assert times == ["2026-11-23T08:00:00Z", "2026-11-23T07:00:00Z"]
    assert (
        tickwork(*asked, "--status", "failed").out == "sqlite:///tasks.db has no runs like that.\n"
    )


def test_runs_are_looked_for_as_far_back_as_it_takes(
    tickwork: Tickwork, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = ("runs", "--store", store, "--source", "scheduled")
    before = tickwork(*every)
    monkeypatch.setattr(runs, "_LOOKED_AT", 2)
    assert before.out == RUNS
    assert tickwork(*every) == before
    assert tickwork(*every, "--limit", "5").out.splitlines()[-1].startswith("These are the first 5")
    none = tickwork("runs", "--store", store, "--source", "manual")
    assert none.out == "sqlite:///tasks.db has no runs like that.\n"


def test_a_cut_list_says_so(tickwork: Tickwork, store: str) -> None:
    assert tickwork("runs", "--store", store, "--limit", "5").out.splitlines()[-1] == (
        "These are the first 5 runs; --limit shows more."
    )
    assert "--limit" not in tickwork("runs", "--store", store, "--limit", "6").out


def test_show_tells_definition_fires_and_runs(tickwork: Tickwork, store: str) -> None:
    assert tickwork("show", "greet", "--store", store) == (0, SHOWN, "")
    assert tickwork("show", "new-year", "--store", store) == (0, PAUSED, "")


def test_show_reads_the_clocks_of_the_tasks_zone(
    tickwork: Tickwork, store: str, terminal: Terminal
) -> None:
    terminal.zone = ZoneInfo("America/New_York")
    shown = tickwork("show", "report", "--store", store).out
    assert "  Tue 2026-11-24 08:00:00 +01:00 (in 22 h)\n" in shown
    assert "  missed after  1 min\n" in shown
    assert "2026-11-24 02:00:00 -05:00" in tickwork("tasks", "--store", store).out


def test_a_narrow_terminal_gets_fewer_columns_and_whole_ids(
    tickwork: Tickwork, store: str, terminal: Terminal, clock: ManualClock
) -> None:
    terminal.width = 60
    with Scheduler(store, clock=clock).connect() as scheduler:
        for task_id in ("break", "report", "new-year"):
            scheduler.remove_task(task_id)
        scheduler.add_task(
            "tests.cli.chores:report", "interval", minutes=80, id="a-task-with-a-rather-long-id"
        )
    assert tickwork("tasks", "--store", store) == (0, NARROW_TASKS, "")


def test_late_fires_are_told_with_their_range(
    tickwork: Tickwork, store: str, clock: ManualClock
) -> None:
    clock.set(datetime.fromisoformat("2026-11-25T12:30:00+01:00"))
    with SteppedScheduler(store, clock=clock) as scheduler:
        scheduler.step()
    runs = {
        (run["task_id"], run["status"]): run
        for run in json.loads(tickwork("runs", "--store", store, "--json", "--limit", "4").out)
    }
    assert runs["greet", "completed"]["fire_count"] == 50
    assert runs["report", "missed"]["fire_count"] == 2
    lines = tickwork("runs", "--store", store, "--task", "greet", "--limit", "2").out.splitlines()
    assert lines[1].split("  ")[-1] == "for all since 2026-11-23 11:00:00 +01:00"


def test_empty_states_say_what_to_do(
    tickwork: Tickwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Scheduler("sqlite:///tasks.db").connect().close()
    assert tickwork("tasks", "--store", "sqlite:///tasks.db").out == (
        "No tasks in sqlite:///tasks.db yet. A scheduler writes those it declares when it starts: "
        "tickwork run MODULE:SCHEDULER\n"
    )
    assert tickwork("runs", "--store", "sqlite:///tasks.db").out == (
        "sqlite:///tasks.db has no runs yet.\n"
    )
    assert tickwork("tasks", "--store", "sqlite:///tasks.db", "--json").out == "[]\n"


def test_filters_that_nothing_fits_say_so(tickwork: Tickwork, store: str) -> None:
    assert tickwork("tasks", "--store", store, "--tag", "x").out == (
        "No task in sqlite:///tasks.db is like that; without filters there are 4.\n"
    )
    assert tickwork("runs", "--store", store, "--status", "lost").out == (
        "sqlite:///tasks.db has no runs like that.\n"
    )
    assert tickwork("runs", "--store", store, "--task", "new-year").out == (
        "Task new-year has no runs yet.\n"
    )


def test_looking_starts_no_scheduler_and_changes_nothing(tickwork: Tickwork, store: str) -> None:
    with Scheduler(store).connect() as scheduler:
        before = scheduler.get_tasks(), scheduler.get_runs(), scheduler.nodes()
    for command in (["tasks"], ["show", "greet"], ["runs"], ["preview", "5m"]):
        where = [] if command[0] == "preview" else ["--store", store]
        assert tickwork(*command, *where).exit_code == 0
    with Scheduler(store).connect() as scheduler:
        assert (scheduler.get_tasks(), scheduler.get_runs(), scheduler.nodes()) == before


def test_what_would_control_the_terminal_or_flood_it_is_made_visible(
    tickwork: Tickwork, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/odd.db"
    name, long = "a\x1b[2J\nb", "x" * 100_000
    with Scheduler(url).connect() as scheduler:
        scheduler.add_task(chores.greet, "interval", hours=1, id=name, args=[long])
    first, second = tickwork("tasks", "--store", url).out.splitlines()
    assert (first.split()[0], second.split()[0]) == ("ID", "a␛[2J␊b")
    said = tickwork("show", name, "--store", url)
    assert said.out.startswith("a␛[2J\nb\n")
    assert "… (100,002 characters; --json has all))" in said.out
    assert len(said.out) < 3_000
    assert long in tickwork("show", name, "--json", "--store", url).out
    assert "a␛[2J␊b" in tickwork("top", "--once", "--store", url).out
