"""The run that a job belongs to, and what it says of itself."""

import json
import logging
import re
from collections.abc import Sequence
from contextvars import Context
from typing import Any

from tickwork.errors import SchedulerStateError
from tickwork.model.current import LOG_LINES, current_run
from tickwork.model.instants import from_us
from tickwork.model.jobs import Outcome
from tickwork.testing.executor_contract.case import ExecutorCase, NotingJob, make_job, result_of
from tickwork.testing.executor_contract.gate import Gate
from tickwork.testing.executor_contract.jobs import (
    LOGGER,
    count_up,
    count_up_later,
    describe,
    describe_later,
    log_each_level,
    log_lines,
    speak_at_gate,
)

__all__ = ["SpeakingContract"]

_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING " + LOGGER + r": (.*)")


def _numbered(number: int) -> NotingJob:
    job = make_job(describe_later if number % 2 else describe)
    job.attempt = number + 1
    job.fence = 1_000 + number
    job.fire_us = 1_800_000_000_000_000 + number if number % 3 else None
    return job


def _facts(job: NotingJob) -> list[Any]:
    fire_time = None if job.fire_us is None else from_us(job.fire_us).isoformat()
    return [job.run_id, job.task_id, job.attempt, fire_time, job.fence, False]


def _message(line: str) -> str:
    found = _LINE.fullmatch(line)
    assert found, line
    return found[1]


class SpeakingContract(ExecutorCase):
    """`current_run`, progress and log lines."""

    def test_each_job_knows_its_own_run(self) -> None:
        """In plain and async code, in what it awaits, in its tasks and the threads it awaits."""
        jobs = [_numbered(number) for number in range(20)]
        for number, outcome in enumerate(self.outcomes_of(*jobs)):
            facts = _facts(jobs[number])
            assert result_of(outcome) == ([facts] * 4 if number % 2 else facts)

    def test_outside_of_jobs_there_is_no_run(self) -> None:
        """Neither where their ends are reported nor where they come from."""
        found: list[object] = []

        def look(_: object = None) -> None:
            try:
                found.append(current_run())
            except SchedulerStateError:
                found.append(None)

        def run_both() -> None:
            with self.opened() as (executor, reports):
                reports.on_report = look
                for count, function in enumerate((describe, describe_later), 1):
                    assert executor.reserve(1) == 1
                    executor.start([make_job(function)])
                    reports.wait_for(count)
            look()

        # In a context in which there has never been one.
        Context().run(run_both)
        assert found == [None] * 3

    def test_what_a_job_says_arrives_while_it_runs(self) -> None:
        """Progress and log are in the job, and it is told of them, long before its end."""
        with self.opened() as (executor, reports), Gate() as gate:
            job = make_job(speak_at_gate, gate.port)
            with self.at_work(executor, job):
                gate.wait_for(1)
                job.wait_for(lambda progress, line: progress is not None and line is not None)
                assert reports.outcomes == []
                assert job.progress is not None
                assert job.log is not None
                expected = {"percent": 50.0, "done": 1, "total": 2, "message": "half"}
                assert json.loads(job.progress) == expected
                assert [_message(line) for line in job.log] == ["at the gate"]
                gate.open()
            assert result_of(reports.wait_for(1)[0]) == "passed"

    def test_the_last_progress_is_there_before_the_end(self) -> None:
        """However fast it is said; also in async code, where it may be awaited."""
        at_the_end: list[str | None] = []

        def look(outcomes: Sequence[Outcome]) -> None:
            at_the_end.extend(outcome.job.progress for outcome in outcomes)

        jobs = [make_job(count_up, 1_000), make_job(count_up_later, 1_000)]
        with self.opened() as (executor, reports):
            reports.on_report = look
            for count, job in enumerate(jobs, 1):
                assert executor.reserve(1) == 1
                executor.start([job])
                reports.wait_for(count)
        text = '{"percent":100.0,"done":1000,"total":1000,"message":"step 1000"}'
        assert at_the_end == [text] * 2
        assert [job.notes[-1] for job in jobs] == [(text, None)] * 2

    def test_the_last_lines_of_the_log_are_kept(self) -> None:
        """In their order, without those that tickwork logs, and those of each job alone."""
        jobs = [make_job(log_lines, LOG_LINES + 50), make_job(log_lines, 1)]
        for job, outcome in zip(jobs, self.outcomes_of(*jobs), strict=True):
            result_of(outcome)
            assert job.log is not None
            assert job.notes[-1] == (None, job.log[-1])
        numbers = range(50, LOG_LINES + 50)
        assert [_message(line) for line in jobs[0].log or ()] == [f"line {n}" for n in numbers]
        assert [_message(line) for line in jobs[1].log or ()] == ["line 0"]

    def test_lines_below_the_level_are_not_captured(self) -> None:
        """The level is that of the environment."""
        job = make_job(log_each_level)
        with self.opened(logging.WARNING) as (executor, reports):
            assert executor.reserve(1) == 1
            executor.start([job])
            result_of(reports.wait_for(1)[0])
        assert [line.split()[1] for line in job.log or ()] == ["WARNING", "ERROR"]

    def test_a_job_that_says_nothing_has_nothing_to_tell(self) -> None:
        """No progress, no log, no note."""
        job = make_job(describe)
        [outcome] = self.outcomes_of(job)
        result_of(outcome)
        assert (job.progress, job.log, job.notes) == (None, None, [])
