"""Pausing, resuming, triggering and removing."""

import json

from tests.cli.conftest import Tickwork
from tickwork import Scheduler
from tickwork.testing import ManualClock, SteppedScheduler


def test_pause_and_resume_tell_where_the_task_stands(tickwork: Tickwork, store: str) -> None:
    where = ("greet", "--store", store)
    assert tickwork("pause", *where, "--reason", "holiday") == (
        0, "greet is paused: holiday.\n", ""
    )  # fmt: skip
    shown = tickwork("show", *where).out
    assert "  because       holiday\n" in shown
    assert "  paused by     " in shown
    assert tickwork("resume", *where) == (
        0, "greet is scheduled, next at 2026-11-23 11:00:00 +01:00 (in 1 h).\n", ""
    )  # fmt: skip


def test_pause_and_resume_answer_with_the_snapshot(tickwork: Tickwork, store: str) -> None:
    where = ("greet", "--store", store, "--json")
    paused = json.loads(tickwork("pause", *where, "--reason", "holiday").out)
    assert (paused["schedule_state"], paused["paused_reason"]) == ("paused", "holiday")
    resumed = json.loads(tickwork("resume", *where).out)
    with Scheduler(store).connect() as scheduler:
        info = scheduler.get_task_info("greet").model_dump(mode="json")
    # Values that might be secrets aren't told by what changes a task.
    info |= {"args": ["(hidden)"], "hidden": ["args[0]"], "timezone": None}
    info |= {"paused_by": None, "paused_at": None}
    assert resumed == info | {"trigger": resumed["trigger"]}


def test_a_triggered_run_waits_for_a_scheduler(
    tickwork: Tickwork, store: str, clock: ManualClock
) -> None:
    said = tickwork("trigger", "new-year", "--store", store)
    with Scheduler(store).connect() as scheduler:
        (run,) = scheduler.get_runs(task="new-year")
    assert said.out == (
        f"new-year will be executed now, as run {run.id}.\n"
        "No scheduler works on this store at present; the run waits for one.\n"
    )
    with SteppedScheduler(store, clock=clock) as scheduler:
        scheduler.step()
        assert scheduler.get_run(run.id).status.value == "completed"
        assert scheduler.get_task_info("new-year").schedule_state.value == "paused"
        assert tickwork("trigger", "new-year", "--store", store).out.count("\n") == 1


def test_a_triggered_run_is_told_as_json(tickwork: Tickwork, store: str) -> None:
    run = json.loads(tickwork("trigger", "greet", "--store", store, "--json").out)
    assert (run["task_id"], run["status"], run["source"]) == ("greet", "pending", "manual")


def test_a_removed_task_is_gone_and_its_history_stays(tickwork: Tickwork, store: str) -> None:
    where = ("greet", "--store", store)
    said = tickwork("remove", *where)
    assert (said.exit_code, said.out) == (2, "")
    assert said.err == (
        "tickwork: Remove the task greet? There is no terminal to ask at; say --yes\n"
    )
    assert tickwork("remove", *where, "--yes") == (0, "greet is removed; its history stays.\n", "")
    assert tickwork("remove", *where) == (3, "", "tickwork: there is no task 'greet'\n")
    assert tickwork("show", *where).exit_code == 3
    assert len(json.loads(tickwork("runs", "--task", *where, "--json").out)) == 3
    said = tickwork("remove", "break", "--store", store, "--json", "-y")
    assert json.loads(said.out) == {"removed": "break"}
