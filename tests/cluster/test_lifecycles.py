"""Lifecycles and turns in processes that come, are killed, and go.

Each process writes what it does into one log, with the time of a clock that all of them share.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.processes import started
from tests.cluster.cluster import ROOT, until

DEADLINE_S = 40.0

BEGINNING = """
import os, sys, time
from pathlib import Path
from tickwork import Scheduler, current_run, make_function
from tickwork.coordination import FileLockProtected, LeaderElection

folder = Path(__file__).parent
own = folder / str(os.getpid())
own.mkdir()


def note(*words):
    line = " ".join([str(time.monotonic_ns()), str(os.getpid()), *map(str, words)])
    log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{line}\\n".encode())
    os.close(log)

"""

END = """

if __name__ == "__main__":
    with scheduler:
        note("ready")
        sys.stdin.read()
    note("stopped")
"""

# The two examples of the Asyncz document, with what is to be done filled in.

EACH_FIRES = (
    BEGINNING
    + """
scheduler = Scheduler(
    lock_path=f"{folder}/asyncz_{{pgrp}}_{{store}}.lock",
    stores={
        "default": {"type": "file", "url": f"file://{own}"},
        "memory": {"type": "memory"},
    },
)


def lifecycle_task():
    note("up")
    scheduler.add_task(
        make_function(generator.send), args=[False], trigger="shutdown", store="memory"
    )
    running = yield
    while running:
        note("tick")
        running = yield
    note("down")


generator = lifecycle_task()


def lifecycle_tick():
    generator.send(True)


if __name__ == "__main__":
    generator.send(None)
    scheduler.add_task(lifecycle_tick, trigger="interval", seconds=0.1)
"""
    + END
)

ONE_IS_SET_UP = (
    BEGINNING
    + """
scheduler = Scheduler(
    lock_path=f"{folder}/asyncz_{{pgrp}}_{{store}}.lock",
    stores={
        "default": {"type": "file", "url": f"file://{own}"},
        "memory": {"type": "memory"},
    },
)


def lifecycle_task(name):
    file_lock = FileLockProtected(f"{folder}/asyncz_bg_{name}_{{pgrp}}.lock")
    while True:
        with file_lock.protected(False) as got_the_lock:
            if not got_the_lock:
                running = yield
                if not running:
                    break
                continue
            note("up")
            scheduler.add_task(
                make_function(generator.send), args=[False], trigger="shutdown", store="memory"
            )
            running = yield
            while running:
                note("tick")
                running = yield
            note("down")
            break
    note("extra")


def lifecycle_tick():
    generator.send(True)


generator = lifecycle_task("foo")

if __name__ == "__main__":
    generator.send(None)
    scheduler.add_task(lifecycle_tick, trigger="interval", seconds=0.1)
"""
    + END
)

# The shorter way.

CYCLE = """
def cycle():
    note("up")
    running = yield
    while running:
        note("tick")
        running = yield
    note("down")
"""

LOCKED = (
    BEGINNING
    + """
scheduler = Scheduler()


@scheduler.lifecycle("interval", seconds=0.1, lock=FileLockProtected(f"{folder}/{{pgrp}}.lock"))
"""
    + CYCLE.lstrip()
    + END
)

ASYNC = LOCKED.replace("def cycle", "async def cycle")

LED = (
    BEGINNING
    + """
scheduler = Scheduler(f"sqlite:///{folder}/tasks.db?durability=normal")
leader = LeaderElection("boss", lease=6, renew_deadline=5, retry_interval=0.2)


@scheduler.lifecycle("interval", seconds=0.1, leader=leader)
"""
    + CYCLE.lstrip()
    + END
)

FIRES = (
    BEGINNING
    + """
scheduler = Scheduler(
    lock_path=f"{folder}/turn.lock",
    task_defaults={"coalesce": "all", "max_instances": 1000},
)


@scheduler.task("cron", second="*")
def fire():
    note("fire", int(current_run().fire_time.timestamp()))


@scheduler.task("shutdown")
def last():
    note("last")
"""
    + END
)

FORKS = FIRES.replace(
    """        note("ready")
""",
    """        child = os.fork()
        if not child:
            note("child")
            time.sleep(600)
            os._exit(0)
        note("ready", child)
""",
)


class Line(NamedTuple):
    """What a process did, and when."""

    at_ns: int
    pid: int
    words: tuple[str, ...]


class Band:
    """Processes of one application, in a folder of their own."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.killed_at: dict[int, int] = {}
        (folder / "application.py").write_text(text)

    def end(self) -> None:
        """End those that are left, and print what they said; pytest shows it where it failed."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        print((self.folder / "output").read_text())

    def start(self, count: int, *, group: int | None = None) -> list[int]:
        """Start processes, wait until they are ready, and return their ids."""
        pids = []
        with (self.folder / "output").open("ab") as output:
            for _ in range(count):
                process = subprocess.Popen(
                    [sys.executable, str(self.folder / "application.py")],
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    process_group=group,
                )
                self.processes.append(process)
                pids.append(process.pid)
        for pid in pids:
            self.until(pid, "ready")
        return pids

    def lines(self) -> list[Line]:
        """Return what was done so far, in the order of time."""
        log = self.folder / "log"
        found = []
        for line in log.read_text().splitlines() if log.exists() else []:
            at_ns, pid, *words = line.split()
            found.append(Line(int(at_ns), int(pid), tuple(words)))
        return sorted(found)

    def did(self, pid: int, word: str) -> int:
        """Return how often a process did something."""
        return sum(line.pid == pid and line.words[0] == word for line in self.lines())

    def until(self, pid: int, word: str, times: int = 1) -> None:
        """Wait until a process has done something so often."""
        until(lambda: self.did(pid, word) >= times, DEADLINE_S, lambda: f"{word}\n{self._said()}")

    def _said(self) -> str:
        return (self.folder / "output").read_text()

    def holders(self) -> list[int]:
        """Return who is set up and lives, in the order in which they were."""
        found = []
        for line in self.lines():
            if line.words[0] == "up":
                found.append(line.pid)
            elif line.words[0] == "down":
                found.remove(line.pid)
        return [pid for pid in found if pid not in self.killed_at]

    def await_holder(self) -> int:
        """Wait until one is set up, and ticks."""
        until(self.holders, DEADLINE_S, lambda: f"one is set up\n{self._said()}")
        (pid,) = self.holders()
        self.until(pid, "tick", self.did(pid, "tick") + 2)
        return pid

    def kill(self, pid: int) -> None:
        """Kill a process by SIGKILL."""
        self.killed_at[pid] = time.monotonic_ns()
        self._process(pid).kill()
        assert self._process(pid).wait(DEADLINE_S) == -signal.SIGKILL

    def stop(self, pid: int) -> None:
        """Have a process stop its scheduler and end."""
        stdin = self._process(pid).stdin
        assert stdin is not None
        stdin.close()
        assert self._process(pid).wait(DEADLINE_S) == 0

    def stop_all(self) -> None:
        """Have all that are left stop, one after the other."""
        for process in self.processes:
            if process.poll() is None:
                self.stop(process.pid)

    def _process(self, pid: int) -> subprocess.Popen[bytes]:
        return next(each for each in self.processes if each.pid == pid)

    def phases(self) -> list[tuple[int, int, int]]:
        """Return from when to when who was set up; a killed one at least until it was killed."""
        begun: dict[int, int] = {}
        phases = []
        for line in self.lines():
            if line.words[0] == "up":
                assert line.pid not in begun
                begun[line.pid] = line.at_ns
            elif line.words[0] == "down":
                phases.append((begun.pop(line.pid), line.at_ns, line.pid))
        phases += [(at_ns, self.killed_at[pid], pid) for pid, at_ns in begun.items()]
        return sorted(phases)


@pytest.fixture
def band(tmp_path: Path) -> Iterator[Callable[[str], Band]]:
    """Make a band of processes of an application."""
    made: list[Band] = []

    def new(text: str) -> Band:
        made.append(Band(tmp_path, text))
        return made[0]

    yield new
    for each in made:
        each.end()


def assert_one_after_the_other(band: Band) -> None:
    phases = band.phases()
    for (_, end_ns, _), (begin_ns, _, _) in pairwise(phases):
        assert end_ns <= begin_ns
    ticks = [line for line in band.lines() if line.words[0] == "tick"]
    for tick in ticks:
        (pid,) = {who for begin_ns, end_ns, who in phases if begin_ns <= tick.at_ns <= end_ns} or {
            # After it was noted that it is going to be killed, and before it was.
            tick.pid
        }
        assert tick.pid == pid


# --- exactly one is set up ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [ONE_IS_SET_UP, LOCKED, ASYNC, LED], ids=["long way", "lock", "async", "leader"]
)
def test_one_process_is_set_up_at_any_time(text: str, band: Callable[[str], Band]) -> None:
    made = band(text)
    made.start(4)
    first = made.await_holder()
    made.kill(first)
    second = made.await_holder()
    assert second != first
    made.stop(second)
    assert made.did(second, "down") == 1
    third = made.await_holder()
    made.start(1)
    assert made.await_holder() == third
    made.kill(third)
    fourth = made.await_holder()
    made.stop_all()
    assert_one_after_the_other(made)
    who = [pid for _, _, pid in made.phases()]
    assert who[:4] == [first, second, third, fourth]
    # Those that are left are stopped one after the other, each perhaps after it was set up.
    assert len(set(who)) == len(who)
    assert Counter(line.words[0] for line in made.lines())["up"] == len(who)


def test_each_group_of_processes_has_one_of_its_own(band: Callable[[str], Band]) -> None:
    made = band(LOCKED)
    (here,) = made.start(1)
    (there,) = made.start(1, group=0)
    made.start(1)
    made.start(1, group=there)
    for pid in (here, there):
        made.until(pid, "tick", 3)
    assert set(made.holders()) == {here, there}


def test_each_sets_up_ticks_and_cleans_up(band: Callable[[str], Band]) -> None:
    """In a store of its own that outlives it: the lock path is for those in memory."""
    made = band(EACH_FIRES)
    pids = made.start(3)
    for pid in pids:
        made.until(pid, "tick", 2)
    made.kill(pids[0])
    made.stop_all()
    assert [made.did(pid, "up") for pid in pids] == [1, 1, 1]
    assert [made.did(pid, "down") for pid in pids] == [0, 1, 1]


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [LOCKED, ASYNC], ids=["plain", "async"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_tickwork_run_cleans_up(
    text: str, number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "application.py").write_text(text.replace("own.mkdir()", ""))
    with started(tmp_path, "-m", "tickwork", "run", "application:scheduler") as process:
        process.until("completed   cycle")
        process.send(number)
        assert process.ended() == 0
    words = [line.split()[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert (words[0], words[-1]) == ("up", "down")
    assert Counter(words)["up"] == Counter(words)["down"] == 1
    assert "Traceback" not in "\n".join(process.lines)


def test_an_error_in_the_program_cleans_up(tmp_path: Path) -> None:
    text = LOCKED.replace("sys.stdin.read()", "raise KeyError('the program')")
    (tmp_path / "application.py").write_text(text)
    with started(tmp_path, "application.py") as process:
        assert process.ended() == 1
    assert "KeyError: 'the program'" in process.lines
    words = [line.split()[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(words)["up"] == Counter(words)["down"]
    assert "stopped" not in words


# --- of all that name the same file, one fires --------------------------------------------------


def fires(made: Band) -> list[tuple[int, int]]:
    """Return which fire times were executed, and by whom, in their order."""
    found = [(int(line.words[1]), line.pid) for line in made.lines() if line.words[0] == "fire"]
    return sorted(found)


def await_another(made: Band, before: list[int]) -> int:
    """Wait until one fires that didn't before."""

    def others() -> list[int]:
        return [pid for _, pid in fires(made) if pid not in before]

    until(lambda: len(others()) > 1, DEADLINE_S, lambda: f"another one fires\n{made.lines()}")
    return others()[0]


@pytest.mark.parametrize("count", [2, 4])
def test_one_fires_and_another_one_goes_on(count: int, band: Callable[[str], Band]) -> None:
    made = band(FIRES)
    pids = made.start(count)
    order: list[int] = []
    for number in range(count):
        pid = await_another(made, order)
        order.append(pid)
        if number % 2:
            made.stop(pid)
        else:
            made.kill(pid)
    assert sorted(order) == sorted(pids)
    times = fires(made)
    # None twice, each process once in its turn, and no hole but around a kill.
    assert len({second for second, _ in times}) == len(times)
    turns = [pid for (_, pid), (_, following) in pairwise([*times, (0, 0)]) if pid != following]
    assert turns == order
    for (before, pid), (after, following) in pairwise(times):
        assert after == before + 1 or (pid != following and pid in made.killed_at)


def test_who_stands_by_ends_with_its_shutdown_tasks(band: Callable[[str], Band]) -> None:
    made = band(FIRES)
    pids = made.start(3)
    first = await_another(made, [])
    left = [pid for pid in pids if pid != first]
    for pid in left:
        made.stop(pid)
        assert (made.did(pid, "last"), made.did(pid, "fire")) == (1, 0)
    made.stop(first)
    assert made.did(first, "last") == 1


def test_a_child_that_lives_on_does_not_keep_the_turn(band: Callable[[str], Band]) -> None:
    made = band(FORKS)
    children = []
    try:
        pids = made.start(2)
        children = [int(line.words[1]) for line in made.lines() if line.words[0] == "ready"]
        first = await_another(made, [])
        made.kill(first)
        second = await_another(made, [first])
        assert {first, second} == set(pids)
        for child in children:
            os.kill(child, 0)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
