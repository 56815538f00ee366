"""Executors that write down each execution, and the reading of what they wrote.

Runs and executions are matched by what only the scheduler knows: the executor wraps the target of
each job that it is handed, so that a line names run, attempt and fence. A line is one write to a
file that only its process appends to: a process killed at any moment leaves whole lines.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.cluster.checker import Execution
from tickwork.executors import AsyncIOExecutor, ThreadPoolExecutor
from tickwork.model.functions import is_coroutine_callable
from tickwork.model.jobs import Job
from tickwork.scheduler.clock import SystemClock
from tickwork.scheduler.held import Held

__all__ = ["ExecutionLog", "RecordingEventLoop", "RecordingThreadPool", "read_executions"]


class ExecutionLog:
    """The log of one process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._pid = os.getpid()
        self._now_us = SystemClock().now_us

    def recorded(self, job: Job) -> Callable[..., Any]:
        """Return the target of a job, writing down when it begins and when it returns."""
        target = job.target
        assert isinstance(job, Held), "jobs of a scheduler know their lease"
        words = {"run": job.run_id, "task": job.task_id, "attempt": job.attempt}
        words |= {"fence": job.fence, "pid": self._pid}
        if is_coroutine_callable(target):

            async def called_async(*args: Any, **kwargs: Any) -> Any:
                self._write({"event": "begin", **words})
                result = await target(*args, **kwargs)
                self._write({"event": "end", **words})
                return result

            return called_async

        def called(*args: Any, **kwargs: Any) -> Any:
            self._write({"event": "begin", **words})
            result = target(*args, **kwargs)
            self._write({"event": "end", **words})
            return result

        return called

    def _write(self, words: dict[str, Any]) -> None:
        os.write(self._file, (json.dumps({**words, "at": self._now_us()}) + "\n").encode())


class RecordingThreadPool(ThreadPoolExecutor):
    """The thread pool, with a log."""

    def __init__(self, log: ExecutionLog, max_workers: int) -> None:
        super().__init__(max_workers)
        self._log = log

    def start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.target = self._log.recorded(job)
        super().start(jobs)


class RecordingEventLoop(AsyncIOExecutor):
    """The executor of coroutines, with a log."""

    def __init__(self, log: ExecutionLog) -> None:
        super().__init__()
        self._log = log

    def start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.target = self._log.recorded(job)
        super().start(jobs)


def read_executions(paths: Iterable[Path]) -> list[Execution]:
    """Return the executions that some logs tell of, oldest first."""
    found: list[Execution] = []
    for path in paths:
        open_ones: dict[tuple[str, int, int], list[Execution]] = {}
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break  # being written at this moment
            words = json.loads(line)
            key = (words["run"], words["fence"], words["pid"])
            if words["event"] == "begin":
                execution = Execution(
                    run_id=words["run"],
                    task_id=words["task"],
                    attempt=words["attempt"],
                    fence=words["fence"],
                    pid=words["pid"],
                    started_us=words["at"],
                )
                open_ones.setdefault(key, []).append(execution)
                found.append(execution)
            else:
                open_ones[key].pop(0).ended_us = words["at"]
    return sorted(found, key=lambda each: each.started_us)
