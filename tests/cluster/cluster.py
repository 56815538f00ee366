"""Several scheduler processes on one store: started, killed, frozen and read by a test."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from tests.cluster.checker import Execution, Expected, Report, check
from tests.cluster.faults import Faults, faulty
from tests.cluster.recording import read_executions
from tests.cluster.worker import WorkerConfig
from tickwork import Scheduler
from tickwork.errors import StoreUnavailableError
from tickwork.interfaces import Reader, Store, StoreEnvironment
from tickwork.model.definition import DefinitionCodec
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import RunQuery, TaskQuery
from tickwork.scheduler.clock import SystemClock
from tickwork.wiring import build_store, load_trigger

__all__ = ["ROOT", "Cluster", "Worker", "now_us", "until"]

ROOT = Path(__file__).parents[2]
_PAGE = 1_000
_GRACE_S = 15.0
"""How long starting, stopping and reaping a process may take on a busy machine."""

now_us = SystemClock().now_us

T = TypeVar("T")


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

    def said(self, word: str) -> str | None:
        """Return the first line of its output that begins with a word."""
        lines = self.output.read_text(errors="replace").splitlines()
        return next((line for line in lines if line.startswith(word)), None)

    def reap(self) -> int:
        """Wait for its end and return its status."""
        assert self.process.stdin is not None
        status = self.process.wait(_GRACE_S)
        self.process.stdin.close()
        return status


class Cluster:
    """The processes that share a store, which live in a folder; a context manager ends them all.

    `store` is its URL, or the options of it. `options` are those of each worker's `WorkerConfig`,
    unless `start` says otherwise. While the store is down, who reads here waits for it.
    """

    def __init__(self, store: str | dict[str, Any], folder: Path, **options: Any) -> None:
        self.store = store
        self.folder = folder
        self.workers: list[Worker] = []
        self._options = options
        self._open: Store | None = None

    def __enter__(self) -> Self:
        self._open = build_store(self.store)
        self._open.open(StoreEnvironment(DefinitionCodec(load_trigger), now_us))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for worker in self.workers:
                if worker.alive:
                    worker.signal(signal.SIGKILL)
            for worker in self.workers:
                worker.reap()
        finally:
            if self._open is not None:
                self._open.close()
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
        self.await_ready([worker])
        return worker

    def start_all(self, *names: str, **options: Any) -> list[Worker]:
        """Start workers at the same time, and wait until all are ready."""
        workers = [self.launch(name, **options) for name in names]
        self.await_ready(workers)
        return workers

    def await_ready(self, workers: Iterable[Worker]) -> None:
        """Wait until workers have started."""
        for worker in workers:
            until(partial(_is_ready, worker), _GRACE_S, partial(_told, worker))

    def launch(self, name: str, *, path: Path | None = None, **options: Any) -> Worker:
        """Start a worker without waiting for anything."""
        label = f"{len(self.workers):03}-{name}"
        log = self.folder / f"{label}.log"
        log.touch()
        config = WorkerConfig(store=self.store, log=str(log), **{**self._options, **options})
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
    def client(self, faults: Faults | None = None) -> Iterator[Scheduler]:
        """Connect a client of the store, in this process."""
        store = build_store(self.store)
        scheduler = Scheduler(faulty(store, faults) if faults else store)
        scheduler.connect()
        try:
            yield scheduler
        finally:
            scheduler.close()

    @property
    def reader(self) -> Reader:
        """The store, for looking once, whether it is up or down."""
        assert self._open is not None, "the cluster is a context manager"
        return cast("Reader", self._open)

    def ask(self, question: Callable[[Reader], T]) -> T:
        """Return what the store answers; again and again while it is down."""
        answers: list[T] = []

        def answered() -> bool:
            try:
                answers.append(question(self.reader))
            except StoreUnavailableError:
                return False
            return True

        until(answered, _GRACE_S, "the store answers")
        return answers[0]

    def nodes(self) -> list[NodeRecord]:
        """Return the nodes that are registered."""
        return self.ask(lambda reader: reader.nodes())

    def node_ids(self, worker: Worker) -> set[str]:
        """Return the ids of the nodes that a worker is registered as."""
        return {node.id for node in self.nodes() if node.pid == worker.pid}

    def runs(self, task_id: str | None = None) -> list[RunRecord]:
        """Return the records of all runs, or of all runs of a task, newest first."""
        found: list[RunRecord] = []
        while True:
            query = RunQuery(task_id=task_id, limit=_PAGE, offset=len(found))
            page = self.ask(partial(_runs, query=query))
            found += page
            if len(page) < _PAGE:
                return found

    def tasks(self) -> list[TaskRecord]:
        """Return all tasks."""
        found: list[TaskRecord] = []
        while True:
            query = TaskQuery(limit=_PAGE, offset=len(found))
            page = self.ask(partial(_tasks, query=query))
            found += page
            if len(page) < _PAGE:
                return found

    def executions(self) -> list[Execution]:
        """Return all executions so far, oldest first."""
        return read_executions(worker.log for worker in self.workers)

    def begun(self) -> int:
        """Return how many executions have begun so far; cheap."""
        return sum(worker.log.read_bytes().count(b'"begin"') for worker in self.workers)

    def await_rest(self, deadline_s: float) -> None:
        """Wait until all schedules have come to their end and no run is under way."""
        until(lambda: not self._unplanned(1) and not self._under_way(1), deadline_s, self._unrest)

    def schedules(self) -> bool:
        """Whether any schedule hasn't come to its end."""
        return bool(self._unplanned(1))

    def _unplanned(self, limit: int) -> list[TaskRecord]:
        query = TaskQuery(state=ScheduleState.SCHEDULED, limit=limit)
        return self.ask(partial(_tasks, query=query))

    def _under_way(self, limit: int) -> list[RunRecord]:
        states = frozenset({RunState.PENDING, RunState.RUNNING})
        return self.ask(partial(_runs, query=RunQuery(states=states, limit=limit)))

    def _unrest(self) -> str:
        lines = [f"the cluster is at rest ({sum(each.alive for each in self.workers)} workers)"]
        lines += [
            f"{task.id} is due at {task.due_us}, {task.problem}" for task in self._unplanned(8)
        ]
        lines += [str(each) for each in (*self._under_way(8), *self.nodes())]
        return "\n  ".join(lines)

    def verdict(self, expected: list[Expected]) -> Report:
        """Have all that happened checked, and print how much that was."""
        report = check(expected, self.runs(), self.executions(), self.tasks())
        print(report)
        return report


def _runs(reader: Reader, query: RunQuery) -> list[RunRecord]:
    return reader.find_runs(query)


def _tasks(reader: Reader, query: TaskQuery) -> list[TaskRecord]:
    return reader.find_tasks(query)


def _is_ready(worker: Worker) -> bool:
    return worker.said("ready") is not None or not worker.alive


def _told(worker: Worker) -> str:
    return f"{worker.name} is ready:\n{worker.output.read_text(errors='replace')}"
