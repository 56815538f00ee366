"""What happens in time: `top` and `timeline`."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.conftest import Tickwork
from tests.cli.processes import REPOSITORY
from tickwork.cli.terminal import Terminal

TOP = """\
tickwork sqlite:///tasks.db  2026-11-23 10:00:00 +01:00
nodes  0 alive
tasks  3 scheduled, 1 paused; 0 late
runs   0 under way, 0 waiting

DUE     WHEN           SCHEDULE
greet   in 1 h         every hour
break   in 1 h 30 min  every 90 minutes
report  in 22 h        cron hour=8 (Europe/Berlin)

FAILED  WHEN            WHY
break   now             ValueError: the machine is broken
break   1 h 30 min ago  ValueError: the machine is broken
"""

TIMELINE = """\
          2026-11-23 08:00    10:00   2026-11-23 12:00
break     ·····✗················✗···············◌·····
greet     ●··········●··········●··········◌·········◌
new-year  ······················│·····················
report    ●·····················│·····················

● completed  ✗ failed, timeout, lost  ○ missed, skipped, cancelled  ▶ running  ◌ will fire
"""


def _stripped(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def test_one_frame_of_top_tells_all(tickwork: Tickwork, store: str) -> None:
    said = tickwork("top", "--once", "--store", store)
    assert (said.exit_code, _stripped(said.out), said.err) == (0, TOP, "")
    told = json.loads(tickwork("top", "--json", "--store", store).out)
    assert (told["at"], told["late"], told["under_way"]) == ("2026-11-23T09:00:00Z", 0, 0)
    assert [task["id"] for task in told["due"]] == ["greet", "break", "report"]
    assert [run["error_type"] for run in told["failures"]] == ["ValueError", "ValueError"]


def test_past_and_future_stand_on_one_line(
    tickwork: Tickwork, store: str, terminal: Terminal
) -> None:
    terminal.width = 54
    assert tickwork("timeline", "--hours", "2", "--store", store) == (0, TIMELINE, "")
    words = ("timeline", "--hours", "2", "--task", "break", "--json", "--store", store)
    told = json.loads(tickwork(*words).out)
    (line,) = told.pop("tasks")
    assert told == {
        "from": "2026-11-23T07:00:00Z",
        "now": "2026-11-23T09:00:00Z",
        "until": "2026-11-23T11:00:00Z",
    }
    assert [run["at"] for run in line["runs"]] == ["2026-11-23T07:30:00Z", "2026-11-23T09:00:00Z"]
    assert line["fires"] == ["2026-11-23T10:30:00Z"]
    assert tickwork("timeline", "--task", "nope", "--store", store).exit_code == 3


def test_top_is_drawn_until_q_is_pressed(store: str, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    words = [sys.executable, "-m", "tickwork", "top", "--interval", "60", "--store", store]
    environment = {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        words, cwd=tmp_path, stdin=terminal, stdout=terminal, env={**os.environ, **environment}
    )
    os.close(terminal)
    try:
        seen = _read_until(controller, b"WHY")
        os.write(controller, b"q")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    assert b"every 90 minutes" in seen


def _read_until(controller: int, words: bytes) -> bytes:
    seen, end = b"", time.monotonic() + 30
    while words not in seen:
        assert time.monotonic() < end, seen
        ready, _, _ = select.select([controller], [], [], 1)
        if ready:
            seen += os.read(controller, 65_536)
    return seen
