"""A store with a history, and the command line over it, at a fixed time in Berlin."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from shutil import copyfile
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from tests.cli.chores import break_down, greet, report
from tickwork.cli.commands import app
from tickwork.cli.terminal import Terminal
from tickwork.testing import ManualClock, SteppedScheduler

NOW = datetime.fromisoformat("2026-11-23T10:00:00+01:00")


class Said(NamedTuple):
    """What a command answered."""

    exit_code: int
    out: str
    err: str


Tickwork = Callable[..., Said]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def terminal(clock: ManualClock) -> Terminal:
    return Terminal(clock, ZoneInfo("Europe/Berlin"), width=140)


@pytest.fixture
def tickwork(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Tickwork:
    """The command, called with its arguments."""
    names = ("TICKWORK_STORE", "TICKWORK_URL", "TICKWORK_TOKEN", "TICKWORK_TRACEBACK")
    for name in (*names, "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str, given: str | None = None) -> Said:
        # typer calls the program by the name of the group, as if it were installed under that.
        result = CliRunner().invoke(app, arguments, obj=terminal, input=given)
        return Said(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store on whose tasks a scheduler worked for the three hours before `NOW`."""
    file = tmp_path_factory.mktemp("history") / "tasks.db"
    fill_store(f"sqlite:///{file}")
    return file


def fill_store(url: str) -> None:
    """Have a scheduler work on a store for the three hours before `NOW`."""
    clock = ManualClock(datetime.fromisoformat("2026-11-23T07:00:00+01:00"))
    with SteppedScheduler(url, clock=clock) as scheduler:
        scheduler.add_task(
            greet, "interval", hours=1, id="greet", args=["Ada"], kwargs={"times": 2}, tags=["mail"]
        )
        scheduler.add_task(break_down, "interval", minutes=90, id="break")
        scheduler.add_task(
            report, "cron", hour=8, timezone="Europe/Berlin", id="report", misfire_grace_time=60
        )
        scheduler.add_task(report, "date", run_at="2027-01-01", id="new-year", paused=True)
        scheduler.advance(hours=3)


@pytest.fixture
def store(tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a store with that history, and its own for each test."""
    monkeypatch.chdir(tmp_path)
    copyfile(history, "tasks.db")
    return "sqlite:///tasks.db"
