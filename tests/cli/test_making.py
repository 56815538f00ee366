"""Creating, editing and rescheduling tasks."""

import json

import pytest

from tests.cli.conftest import Tickwork
from tickwork import Scheduler

WEEKDAYS = """\
hello is added: cron 0 8 * * mon-fri (Europe/Berlin).
Next fires:
  Tue 2026-11-24 08:00:00 +01:00
  Wed 2026-11-25 08:00:00 +01:00
  Thu 2026-11-26 08:00:00 +01:00
  Fri 2026-11-27 08:00:00 +01:00
  Mon 2026-11-30 08:00:00 +01:00
"""

EDITED = """\
greet {how}:
  trigger_description  "every hour" -> "every 2 hours"
  next_run_time        "2026-11-23T10:00:00Z" -> "2026-11-23T11:00:00Z"
  retries              0 -> 3
Next fires:
  Mon 2026-11-23 12:00:00 +01:00
  Mon 2026-11-23 14:00:00 +01:00
  Mon 2026-11-23 16:00:00 +01:00
  Mon 2026-11-23 18:00:00 +01:00
  Mon 2026-11-23 20:00:00 +01:00
"""


def test_a_task_is_created_of_any_function_that_can_be_imported(
    tickwork: Tickwork, store: str
) -> None:
    said = tickwork(
        "create", "tests.cli.chores:greet", "0 8 * * mon-fri", "--timezone", "Europe/Berlin",
        "--id", "hello", "--args", '["Bob"]', "--kwargs", '{"times": 3}', "--set", "retries=3",
        "--set", 'tags=["mail"]', "--set", "overlap=queue", "--store", store,
    )  # fmt: skip
    assert said == (0, WEEKDAYS, "")
    with Scheduler(store).connect() as scheduler:
        task = scheduler.get_task_info("hello")
    assert (task.args, task.kwargs, task.retries) == (["Bob"], {"times": 3}, 3)
    assert (task.tags, task.overlap.value) == (("mail",), "queue")


def test_a_trigger_may_be_named_with_its_arguments(tickwork: Tickwork, store: str) -> None:
    words = ["--trigger", "interval", "--with", '{"hours": 2}', "--next-run", "30m", "--paused"]
    said = tickwork(
        "create", "tests.cli.chores:report", "--id", "r", *words, "--json", "--store", store
    )
    task = json.loads(said.out)
    assert (task["trigger_description"], task["schedule_state"]) == ("every 2 hours", "paused")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.at:all", "5m"], 2, "there is no module 'nowhere' here"),
        (["tests.cli.chores:greet", "5m", "--args", "Bob"], 2, "--args is no JSON: "),
        (["tests.cli.chores:greet", "5m", "--args", "{}"], 2, "--args takes JSON such as "),
        (["tests.cli.chores:greet", "5m", "--set", "retry=3"], 2, "there is no option 'retry'; do"),
        (["tests.cli.chores:greet", "5m", "--set", "retries"], 2, "must look like NAME=VALUE"),
        (["tests.cli.chores:greet", "5m", "--set", "retries=-1"], 2, "retries: Input should be"),
        (["tests.cli.chores:greet", "5m"], 2, "name"),
        (["tests.cli.chores:report", "5m", "--id", "greet"], 4, "there is a task 'greet' already"),
    ],
)
def test_what_could_never_work_is_refused(  # noqa: PLR0917  fixtures
    tickwork: Tickwork, store: str, words: list[str], code: int, message: str
) -> None:
    said = tickwork("create", *words, "--store", store)
    assert (said.exit_code, said.out, said.err.count("\n")) == (code, "", 1)
    assert message in said.err
    with Scheduler(store).connect() as scheduler:
        assert len(scheduler.get_tasks()) == 4


def test_an_edit_shows_what_differs_first_without_changing_anything(
    tickwork: Tickwork, store: str
) -> None:
    words = ("edit", "greet", "--schedule", "2h", "--set", "retries=3", "--store", store)
    assert tickwork(*words, "--dry-run") == (0, EDITED.format(how="would change"), "")
    assert "every hour" in tickwork("show", "greet", "--store", store).out
    assert tickwork(*words) == (0, EDITED.format(how="is changed"), "")
    assert "every 2 hours" in tickwork("show", "greet", "--store", store).out
    again = tickwork("edit", "greet", "--set", "retries=3", "--store", store)
    assert again == (0, "greet stays as it is: nothing differs.\n", "")
    assert tickwork("edit", "greet", "--store", store).exit_code == 2


def test_a_schedule_is_changed_by_itself(tickwork: Tickwork, store: str) -> None:
    said = tickwork("reschedule", "report", "@daily", "--store", store, "--json", "--dry-run")
    told = json.loads(said.out)
    assert told["applied"] is False
    assert told["fire_times"][0] == "2026-11-24T00:00:00Z"
    assert {each["field"] for each in told["changes"]} >= {"trigger_description", "next_run_time"}
    assert json.loads(tickwork("reschedule", "report", "@daily", "--store", store, "--json").out)[
        "applied"
    ]
    assert tickwork("reschedule", "report", "--store", store).exit_code == 2
