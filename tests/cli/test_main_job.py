"""The example that `make run` starts, twice, with an hour in between."""

import re
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path

from tests.cli.processes import started
from tickwork import RunInfo, Scheduler

# The main job an hour ago: only the clock of the child process is another one.
AN_HOUR_AGO = """
import time
from tickwork.scheduler.clock import SystemClock

SystemClock.now_us = lambda self: time.time_ns() // 1_000 - 3_600_000_000

from examples.main_job import main

main()
"""
SECONDS = {
    "sizes": 5, "rotation": 12, "report-now-and-then": 10, "free-space": 3, "backup": 9,
    "price-list": 7,
}  # fmt: skip


def _covered(runs: list[RunInfo], every_s: int) -> bool:
    """Whether the ranges of runs follow each other without hole or overlap."""
    ranges = sorted(
        (run.first_fire_time, run.last_fire_time, run.fire_count)
        for run in runs
        if run.first_fire_time is not None and run.last_fire_time is not None
    )
    sizes = [round((last - first).total_seconds() / every_s) + 1 for first, last, _ in ranges]
    gaps = [
        round((after[0] - before[1]).total_seconds() / every_s)
        for before, after in pairwise(ranges)
    ]
    return sizes == [count for _, _, count in ranges] and set(gaps) <= {1}


def test_definitions_and_history_are_kept_and_what_was_missed_is_accounted_for(
    tmp_path: Path,
) -> None:
    with started(tmp_path, "-c", AN_HOUR_AGO, TICKWORK_PORT="0") as first:
        first.until("free-space          completed")
        first.send(signal.SIGINT)
        assert first.ended() == 0
    assert first.lines[0] == "A new store, .demo/tasks.db, with 8 tasks:"
    assert first.lines[-2:-1] == ["stopped"]

    environment = {"TICKWORK_RUN_SECONDS": "4", "TICKWORK_PORT": "0"}
    with started(tmp_path, "-m", "examples.main_job", **environment) as second:
        assert second.ended() == 0
    assert second.lines[-2] == "stopped"
    assert second.lines[-1].endswith(" lines told. Run it again: it goes on where it was.")
    [address] = [line for line in second.lines if line.startswith("listening at ")]
    assert re.fullmatch(r"listening at http://127\.0\.0\.1:\d+", address)
    assert re.fullmatch(
        r"Kept in \.demo/tasks\.db: 8 tasks and \d+ runs \(.*2 completed.*\)\.", second.lines[0]
    )
    accounted = Counter(
        before.split()[1]
        for before, line in pairwise(second.lines)
        if "from before this start" in line and "fire times" in line
    )
    # Each of them folded into one run; the one that must not be late also in a `missed` range.
    expected = dict.fromkeys(SECONDS, 1) | {"free-space": accounted["free-space"]}
    assert dict(accounted) == expected
    assert any("recorded, not executed" in line for line in second.lines)

    with Scheduler(f"sqlite:///{tmp_path}/.demo/tasks.db").connect() as scheduler:
        for task_id, every_s in SECONDS.items():
            runs = scheduler.get_runs(task=task_id)
            assert _covered(runs, every_s), task_id
            assert max(run.fire_count for run in runs) >= 3_590 // every_s
        assert scheduler.get_runs(status=["pending", "running"]) == []
        assert len(scheduler.get_runs(task="farewell", status="completed")) == 2
    assert len(list((tmp_path / ".demo" / "sizes").glob("*.csv"))) >= 1
    assert (tmp_path / ".demo" / "backup.tar.xz").stat().st_size > 10_000
