"""What is done to many tasks or runs at once: first counted, then done."""

import json
from io import StringIO

import pytest
import typer

from tests.cli.conftest import Tickwork
from tickwork import Scheduler
from tickwork.cli.desk import confirm


def test_nothing_is_done_to_many_before_they_are_counted(tickwork: Tickwork, store: str) -> None:
    words = ("bulk", "pause", "--state", "scheduled", "--store", store)
    assert tickwork(*words, "--dry-run") == (0, "3 tasks: break, greet, report\n", "")
    assert tickwork(*words) == (
        2,
        "3 tasks: break, greet, report\n",
        "tickwork: Pause 3 tasks? There is no terminal to ask at; say --yes\n",
    )
    said = tickwork(*words, "--yes", "--reason", "holiday", "--until", "2h")
    assert said.out == "3 tasks: break, greet, report\n3 done, 0 failed.\n"
    with Scheduler(store).connect() as scheduler:
        paused = scheduler.get_tasks(state="paused")
    reasons = {each.id: each.paused_reason for each in paused}
    assert reasons == dict.fromkeys(["break", "greet", "report"], "holiday") | {"new-year": None}
    assert tickwork(*words, "--yes").out == "No tasks are like that.\n"


def test_all_tasks_are_meant_only_where_that_is_said(tickwork: Tickwork, store: str) -> None:
    said = tickwork("bulk", "remove", "--yes", "--store", store)
    assert said == (2, "", "tickwork: which tasks? Say a filter such as --tag mail, or --all\n")
    words = ("bulk", "remove", "--all", "--yes", "--store", store, "--json")
    assert json.loads(tickwork(*words).out) == {
        "count": 4,
        "sample": ["break", "greet", "new-year", "report"],
        "applied": True,
        "done": 4,
        "failed": [],
    }
    assert tickwork("tasks", "--store", store, "--json").out == "[]\n"


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_the_answer_no_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal("n\ny\n"))
    with pytest.raises(typer.Abort):
        confirm("Really?", yes=False)
    confirm("Really?", yes=False)
    with pytest.raises(typer.Abort):  # nobody answers
        confirm("Really?", yes=False)
    confirm("Really?", yes=True)


def test_what_failed_since_is_executed_again(tickwork: Tickwork, store: str) -> None:
    with Scheduler(store).connect() as scheduler:
        ids = [run.id for run in scheduler.get_runs(status="failed")]
    words = ("retry", "--failed-since", "2h", "--store", store)
    assert tickwork(*words, "--dry-run").out == f"2 failed runs: {', '.join(ids)}\n"
    said = tickwork("retry", "--failed-since", "1h", "--store", store, "--yes")
    assert said == (0, f"1 failed run: {ids[0]}\n1 done, 0 failed.\n", "")
    said = tickwork("retry", "--failed-since", "1h", "--task", "greet", "--store", store)
    assert said == (0, "No failed runs are like that.\n", "")
    with Scheduler(store).connect() as scheduler:
        assert [run.retry_of for run in scheduler.get_runs(status="pending")] == [ids[0]]


def test_history_is_forgotten_after_a_question(tickwork: Tickwork, store: str) -> None:
    words = ("prune", "--before", "89m", "--store", store)
    when = "2026-11-23 08:31:00 +01:00"
    said = tickwork(*words, "--dry-run")
    assert said == (0, f"3 runs would be forgotten, made before {when}.\n", "")
    assert tickwork(*words).exit_code == 2
    assert tickwork(*words, "--yes").out == f"3 rows gone, of what was over before {when}.\n"
    assert len(json.loads(tickwork("runs", "--store", store, "--json").out)) == 3
