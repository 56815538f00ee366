"""`tickwork run` in processes of its own."""

import json
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Tickwork
from tests.cli.processes import started
from tickwork import Scheduler

RUN = ("-m", "tickwork", "run")
APPLICATION = """
import threading
from tickwork import Scheduler

scheduler = Scheduler("sqlite:///tasks.db")
endless = threading.Event()

@scheduler.task(every="1s", id="quick")
def quick():
    return {"answer": 42}

@scheduler.task(every="1s", id="broken")
def broken():
    raise KeyError("nothing")

@scheduler.task("shutdown", id="last")
async def last():
    pass
"""
BLOCKING = """
@scheduler.task(at="2020-01-01", id="blocking")
def blocking():
    print("blocked", flush=True)
    endless.wait()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "blocking.py").write_text(APPLICATION + BLOCKING)
    return tmp_path


@pytest.fixture
def failing_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "failing_application.py").write_text("\nraise ValueError('no luck')\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly(folder: Path, number: signal.Signals) -> None:
    with started(folder, *RUN, "application:scheduler") as process:
        completed = process.until("  completed   quick  late ")
        failed = process.until("  failed      broken  late ")
        process.send(number)
        assert process.ended() == 0
    assert ", took " in completed
    assert completed[19:26] == " +00:00"
    assert failed.endswith("KeyError: 'nothing'")
    assert process.lines[1] == "tasks in default (sqlalchemy): 3 scheduled"
    assert process.lines[-1] == "stopped"
    assert f"{number.name}: stopping" in process.lines
    assert next(line for line in process.lines if "last" in line).count("completed") == 1
    assert "Traceback" not in "\n".join(process.lines)
    with Scheduler(f"sqlite:///{folder}/tasks.db").connect() as scheduler:
        assert scheduler.get_runs(status=["pending", "running"]) == []
        assert len(scheduler.get_runs(task="last")) == 1
        assert scheduler.nodes() == []


def test_it_ends_by_itself_and_tells_events_as_json(folder: Path) -> None:
    with started(folder, *RUN, "application:scheduler", "--seconds", "2.5", "--json") as process:
        assert process.ended() == 0
    events = [json.loads(line) for line in process.lines]
    assert [events[0]["event"], events[-1]["event"]] == ["SchedulerStarted", "SchedulerStopped"]
    with Scheduler(f"sqlite:///{folder}/tasks.db").connect() as scheduler:
        runs = scheduler.get_runs()
    told = {each["run_id"] for each in events if "run_id" in each and each["event"] != "RunStarted"}
    assert told == {run.id for run in runs}
    quick = next(each for each in events if each["event"] == "RunCompleted")
    assert (quick["task_id"], quick["result"]) == ("quick", {"answer": 42})


def test_a_second_signal_does_not_wait(folder: Path) -> None:
    with started(folder, *RUN, "blocking:scheduler") as process:
        process.until("blocked")
        process.send(signal.SIGINT)
        process.until("SIGINT: stopping")
        process.send(signal.SIGTERM)
        assert process.ended() == 128 + signal.SIGTERM
    assert "SIGTERM again: not waiting" in process.lines
    assert "1 run still under way in threads; others take over once the lease is over" in (
        process.lines
    )


def test_what_a_stop_leaves_is_told(folder: Path) -> None:
    with started(folder, *RUN, "blocking:scheduler", "--stop-timeout", "0") as process:
        process.until("blocked")
        process.send(signal.SIGTERM)
        assert process.ended() == 0
    assert "1 run still under way in threads; others take over once the lease is over" in (
        process.lines
    )
    assert "stopped" not in process.lines


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("app", "'app' names no scheduler; say MODULE:SCHEDULER, such as shop.jobs:scheduler"),
        ("nowhere_at_all:x", "there is no module 'nowhere_at_all' in the working directory"),
        ("tests.cli.chores:x", "tests.cli.chores has no 'x'"),
        ("tests.cli.chores:report.x", "tests.cli.chores has no 'report.x'"),
        ("failing_application:x", "can't import failing_application: ValueError: no luck ("),
    ],
)
def test_what_is_no_scheduler_is_bad_input(
    tickwork: Tickwork, failing_application: None, target: str, message: str
) -> None:
    said = tickwork("run", target)
    assert (said.exit_code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith(f"tickwork: {message}")
    if "luck" in message:
        assert said.err.endswith("failing_application.py, line 2)\n")


def test_a_store_that_can_not_be_opened_is_worth_another_try(tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(
        APPLICATION.replace("sqlite:///tasks.db", "sqlite:///missing/tasks.db")
    )
    with started(tmp_path, *RUN, "application:scheduler") as process:
        assert process.ended() == 75
    (line,) = process.lines
    assert line.startswith("tickwork: the database doesn't answer as it should")


def test_help_is_quick_because_nothing_is_imported_before_it_is_used(tmp_path: Path) -> None:
    heavy = ["sqlalchemy", "alembic", "pydantic", "croniter", "rich.table", "asyncio"]
    script = (
        "import sys, tickwork.cli.commands\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    with started(tmp_path, "-c", script) as process:
        assert process.ended() == 0
    assert process.lines == ["[]"]


def test_python_m_tickwork_is_the_command(tmp_path: Path) -> None:
    with started(tmp_path, "-m", "tickwork", "--help", COLUMNS="80") as process:
        assert process.ended() == 0
    assert process.lines[0] == "Usage: tickwork [OPTIONS] COMMAND [ARGS]..."
    named = [line.split()[0] for line in process.lines[process.lines.index("Commands:") + 1 :]]
    assert named[:6] == ["run", "serve", "preview", "tasks", "show", "create"]
    assert len(named) == len(set(named)) == 35
