"""An executor that does nothing by itself."""

from collections.abc import Mapping, Sequence
from contextvars import copy_context
from typing import ClassVar

from tickwork.executors.guard import attempt
from tickwork.interfaces import ExecutorEnvironment, Leftover
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import RunState

__all__ = ["Standing"]


class Standing:
    """An executor whose jobs stand in its queue until a test lets them go."""

    kind: ClassVar[str] = "standing"

    def __init__(self) -> None:
        self.queue: list[Job] = []

    def open(self, environment: ExecutorEnvironment) -> None:
        self._environment = environment

    def reserve(self, wanted: int) -> int:
        return wanted

    def release(self, places: int) -> None:
        """Have as many places as before."""

    def idle(self) -> int:
        return 100

    def start(self, jobs: Sequence[Job]) -> None:
        self.queue += jobs

    def stop(self, timeout_s: float) -> Leftover:
        return Leftover(self.queue, [])

    def begin(self) -> None:
        """Start what is there, without an end."""
        for job in self.queue:
            now_us = self._environment.now_us()
            assert job.may_start(now_us)
            job.started_us = now_us

    def end(self, errors: Mapping[str, RunError]) -> None:
        """Report that what was started is over, with the errors of some tasks."""
        queue, self.queue = self.queue, []
        now_us = self._environment.now_us()
        outcomes = []
        for job in queue:
            error = errors.get(job.task_id)
            state = RunState.COMPLETED if error is None else RunState.FAILED
            outcomes.append(Outcome(job, state, job.started_us, now_us, error=error))
        self._environment.report(outcomes)

    def go(self) -> None:
        queue, self.queue = self.queue, []
        environment = self._environment
        environment.report([copy_context().run(attempt, job, environment.now_us) for job in queue])
