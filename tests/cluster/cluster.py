"""Several scheduler processes on one store: started, killed, frozen and read by a test."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from tests.cluster.checker import Execution, Expected, Report, check
from tests.cluster.recording import read_executions
from tests.cluster.worker import WorkerConfig
from tickwork import Scheduler
from tickwork.interfaces import Reader, Store, StoreEnvironment
from tickwork.model.definition import DefinitionCodec
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import RunQuery, TaskQuery
from tickwork.scheduler.clock import SystemClock
from tickwork.wiring import build_store, load_trigger

__all__ = ["ROOT", "Cluster", "Worker", "now_us", "until"]

ROOT = Path(__file__).parents[2]
_PAGE = 1_000
_GRACE_S = 15.0
"""How long starting, stopping and reaping a process may take on a busy machine."""

now_us = SystemClock().now_us


def until(
    condition: Callable[[], object],
    deadline_s: float,
    what: str | Callable[[], str],
    *,
    every_s: float = 0.05,
) -> None:
    """Wait for a condition; fail saying `what` was waited for, when the deadline has passed."""
    end = time.monotonic() + deadline_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {deadline_s:g} s: {said}")
        pause.wait(every_s)


@dataclass(slots=True)
class Worker:
    """One life of one process."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    @property
    def pid(self) -> int:
        """The process id; never another process's while this one isn't reaped."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        self.process.send_signal(number)

    def stands(self) -> bool:
        """Whether it has been stopped by SIGSTOP."""
        flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        return self.alive and os.waitid(os.P_PID, self.pid, flags) is not None

    def said(self, word: str) -> bool:
        """Whether a line of its output begins with a word."""
        lines = self.output.read_text(errors="replace").splitlines()
        return any(line.startswith(word) for line in lines)

    def reap(self) -> int:
        """Wait for its end and return its status."""
        assert self.process.stdin is not None
        status = self.process.wait(_GRACE_S)
        self.process.stdin.close()
        return status


class Cluster:
    """The processes that share a store, which live in a folder; a context manager ends them all.

    `options` are those of each worker's `WorkerConfig`, unless `start` says otherwise.
    """

    def __init__(self, url: str, folder: Path, **options: Any) -> None:
        self.url = url
        self.folder = folder
        self.workers: list[Worker] = []
        self._options = options
        self._store: Store | None = None

    def __enter__(self) -> Self:
        self._store = build_store(self.url)
        self._store.open(StoreEnvironment(DefinitionCodec(load_trigger), now_us))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for worker in self.workers:
                if worker.alive:
                    worker.signal(signal.SIGKILL)
            for worker in self.workers:
                worker.reap()
        finally:
            if self._store is not None:
                self._store.close()
            self._tell_all()

    def _tell_all(self) -> None:
        """Print what the workers said at last; pytest shows it where a test has failed."""
        for worker in self.workers:
            lines = worker.output.read_text(errors="replace").splitlines()
            print(f"--- {worker.name}, pid {worker.pid}, the last of {len(lines)} lines")
            print("\n".join(lines[-25:]))

    # --- processes ----------------------------------------------------------------------------

    def start(self, name: str, *, path: Path | None = None, **options: Any) -> Worker:
        """Start a worker and wait until it is ready; `path` is put before its PYTHONPATH."""
        worker = self.launch(name, path=path, **options)
        until(
            lambda: worker.said("ready") or not worker.alive,
            _GRACE_S,
            lambda: f"{name} is ready:\n{worker.output.read_text(errors='replace')}",
        )
        return worker

    def launch(self, name: str, *, path: Path | None = None, **options: Any) -> Worker:
        """Start a worker without waiting for anything."""
        label = f"{len(self.workers):03}-{name}"
        log = self.folder / f"{label}.log"
        log.touch()
        config = WorkerConfig(url=self.url, log=str(log), **{**self._options, **options})
        config.write(self.folder / f"{label}.json")
        output = self.folder / f"{label}.out"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.worker", str(self.folder / f"{label}.json")],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(path or "")},
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(name, process, output, log)
        self.workers.append(worker)
        return worker

    def kill(self, worker: Worker) -> None:
        """Kill a worker with SIGKILL, and reap it."""
        worker.signal(signal.SIGKILL)
        worker.reap()

    def await_death(self, worker: Worker, deadline_s: float) -> None:
        """Wait for a worker that dies by itself, and reap it."""
        until(lambda: not worker.alive, deadline_s, f"{worker.name} dies", every_s=0.01)
        worker.reap()

    # --- reading ------------------------------------------------------------------------------

    @contextmanager
    def client(self) -> Iterator[Scheduler]:
        """Connect a client of the store, in this process."""
        scheduler = Scheduler(self.url)
        scheduler.connect()
        try:
            yield scheduler
        finally:
            scheduler.close()

    @property
    def reader(self) -> Reader:
        """The store, for looking."""
        assert self._store is not None, "the cluster is a context manager"
        return cast("Reader", self._store)

    def runs(self, task_id: str | None = None) -> list[RunRecord]:
        """Return the records of all runs, or of all runs of a task, newest first."""
        found: list[RunRecord] = []
        while True:
            query = RunQuery(task_id=task_id, limit=_PAGE, offset=len(found))
            page = self.reader.find_runs(query)
            found += page
            if len(page) < _PAGE:
                return found

    def tasks(self) -> list[TaskRecord]:
        """Return all tasks."""
        found: list[TaskRecord] = []
        while True:
            page = self.reader.find_tasks(TaskQuery(limit=_PAGE, offset=len(found)))
            found += page
            if len(page) < _PAGE:
                return found

    def executions(self) -> list[Execution]:
        """Return all executions so far, oldest first."""
        return read_executions(worker.log for worker in self.workers)

    def begun(self) -> int:
        """Return how many executions have begun so far; cheap."""
        return sum(worker.log.read_bytes().count(b'"begin"') for worker in self.workers)

    def under_way(self) -> int:
        """Return how many runs are not over."""
        states = frozenset({RunState.PENDING, RunState.RUNNING})
        return len(self.reader.find_runs(RunQuery(states=states, limit=_PAGE)))

    def await_rest(self, deadline_s: float) -> None:
        """Wait until all schedules have come to their end and no run is under way."""

        def at_rest() -> bool:
            unfinished = self.reader.find_tasks(
                TaskQuery(state=ScheduleState.SCHEDULED, limit=1, sort="next_run_time")
            )
            return not unfinished and not self.under_way()

        until(at_rest, deadline_s, self._unrest)

    def _unrest(self) -> str:
        waiting = self.reader.find_tasks(TaskQuery(state=ScheduleState.SCHEDULED))
        states = frozenset({RunState.PENDING, RunState.RUNNING})
        going = self.reader.find_runs(RunQuery(states=states))
        return "\n".join(
            [
                f"the cluster is at rest ({sum(worker.alive for worker in self.workers)} workers)",
                *(f"  {task.id} is due at {task.due_us}, {task.problem}" for task in waiting[:8]),
                *(f"  {run}" for run in going[:8]),
                *(f"  {node}" for node in self.reader.nodes()),
            ]
        )

    def verdict(self, expected: list[Expected]) -> Report:
        """Have all that happened checked, and print how much that was."""
        report = check(expected, self.runs(), self.executions(), self.tasks())
        print(report)
        return report
