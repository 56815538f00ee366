"""What docs/cli.md shows is what the commands print, one after the other."""

import shlex
import sys
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli import chores
from tests.cli.conftest import Tickwork
from tests.docs.pages import ROOT, Block, blocks_of, table_of
from tickwork.cli.terminal import Terminal
from tickwork.testing import ManualClock, SteppedScheduler

PAGE = ROOT / "docs" / "cli.md"
URL = "sqlite:///tasks.db"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store of a shop, after three hours."""
    jobs = ModuleType("shop.jobs")
    vars(jobs).update(
        send_mail=chores.greet,
        charge_cards=chores.break_down,
        close_day=chores.report,
        tidy_up=chores.report,
    )
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.jobs", jobs)
    monkeypatch.chdir(tmp_path)
    fill_store()


def fill_store() -> None:
    clock = ManualClock(datetime.fromisoformat("2026-11-23T07:00:00+01:00"))
    with SteppedScheduler(URL, clock=clock) as scheduler:
        scheduler.add_task(
            "shop.jobs:send_mail", "interval", hours=1, id="newsletter", args=["Ada"],
            kwargs={"times": 2}, tags=["mail"], name="newsletter",
        )  # fmt: skip
        scheduler.add_task("shop.jobs:charge_cards", "interval", minutes=90, id="charge-cards")
        scheduler.add_task(
            "shop.jobs:close_day", cron="0 8 * * *", timezone="Europe/Berlin", id="close-day"
        )
        scheduler.add_task("shop.jobs:close_day", at="2027-01-01", id="new-year", paused=True)
        scheduler.advance(hours=3)


def shown_blocks() -> list[Block]:
    return [block for block in blocks_of(PAGE) if block.language == "shell" and block.output]


@pytest.mark.usefixtures("shop")
def test_the_output_on_the_page_is_that_of_the_commands(
    tickwork: Tickwork, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKWORK_STORE", URL)  # which the fixture of the command takes away
    terminal.width = 110
    assert len(shown_blocks()) == 15
    for block in shown_blocks():
        printed = ""
        for line in block.text.splitlines():
            said = tickwork(*shlex.split(line)[1:])
            printed += said.out + said.err
        assert "".join(f"{line.rstrip()}\n" for line in printed.splitlines()) == block.output, block


def test_every_command_has_an_example() -> None:
    lines = [line for b in blocks_of(PAGE) if b.language == "shell" for line in b.text.splitlines()]
    used = {shlex.split(line)[1] for line in lines}
    assert used == {row[0] for row in table_of("docs/cli.md", "command", "what it does")}
