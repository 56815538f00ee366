import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tickwork.executors import ProcessPoolExecutor
from tickwork.model.current import update_progress
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import RunState
from tickwork.testing.executor_contract import (
    DEADLINE_S,
    ExecutorContract,
    Gate,
    NotingJob,
    Reports,
    add,
    make_job,
    result_of,
    stand_at_gate,
)


class TestProcessPoolExecutor(ExecutorContract):
    def make_executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(2)


# -- what the jobs do, in a process of their own


def exit_at_once(status: int) -> None:
    os._exit(status)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def pid() -> int:
    return os.getpid()


def mark() -> str | None:
    return os.environ.get("TICKWORK_POOL_CHILD")


def unstorable() -> object:
    return object()


def touch(path: str) -> None:
    Path(path).touch()


def speak_and_die() -> None:
    update_progress(42, "about to die")
    logging.getLogger("job").warning("last words")
    kill_itself()


def speak_for_ever() -> None:
    for number in itertools.count():
        update_progress((number % 100, 100), "x" * 1_000)
        logging.getLogger("job").warning("%d", number)


def count_up(total: int) -> None:
    for number in range(1, total + 1):
        update_progress((number, total))


def count_up_in_a_fork_too(total: int) -> None:
    pid = os.fork()
    count_up(total)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def stand_at_gate_in_a_fork_too(port: int) -> None:
    os.fork()
    stand_at_gate(port)
    os._exit(0)


class Hesitant(NotingJob):
    """A job that takes its time to say whether it may start."""

    def __init__(self, job: Job) -> None:
        super().__init__(
            run_id=job.run_id,
            task_id=job.task_id,
            attempt=1,
            target=job.target,
            reference=job.reference,
            payload=job.payload,
        )
        self.asked = threading.Event()
        self.answer = threading.Event()

    def may_start(self, now_us: int) -> bool:
        self.asked.set()
        assert self.answer.wait(DEADLINE_S)
        return super().may_start(now_us)


# -- the tests


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def executor(reports: Reports) -> Iterator[ProcessPoolExecutor]:
    executor = ProcessPoolExecutor(2)
    executor.open(reports.environment())
    yield executor
    executor.stop(0)


def hand_over(executor: ProcessPoolExecutor, *jobs: Job) -> None:
    assert executor.reserve(len(jobs)) == len(jobs)
    executor.start(jobs)


def outcome_of(executor: ProcessPoolExecutor, reports: Reports, job: Job) -> Outcome:
    count = len(reports.outcomes)
    hand_over(executor, job)
    return reports.wait_for(count + 1)[-1]


def error_of(outcome: Outcome) -> RunError:
    assert outcome.state is RunState.FAILED
    assert outcome.error is not None
    return outcome.error


DEATHS = {
    "exited with status 0": make_job(exit_at_once, 0),
    "exited with status 7": make_job(exit_at_once, 7),
    "was killed by signal 9 (SIGKILL)": make_job(kill_itself),
}


@pytest.mark.parametrize("how", DEATHS)
def test_a_process_that_dies_fails_only_its_own_run(
    executor: ProcessPoolExecutor, reports: Reports, how: str
) -> None:
    with Gate() as gate:
        other = make_job(stand_at_gate, gate.port)
        hand_over(executor, other)
        gate.wait_for(1)
        error = error_of(outcome_of(executor, reports, DEATHS[how]))
        assert error.type == "ProcessDied"
        assert how in error.message
        assert result_of(outcome_of(executor, reports, make_job(add, 1))) == 1
    reports.wait_for(3)
    assert result_of(reports.by_run()[other.run_id]) == "passed"


def test_the_pool_goes_on_when_a_process_without_a_job_is_killed(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    os.kill(result_of(outcome_of(executor, reports, make_job(pid))), signal.SIGKILL)
    # Until pebble has noticed, a job may still be given to the broken pool; it fails then.
    for _ in range(10):
        outcome = outcome_of(executor, reports, make_job(add, 1))
        if outcome.state is RunState.COMPLETED:
            break
        assert error_of(outcome).type == "ProcessDied"
    assert result_of(outcome_of(executor, reports, make_job(add, 1))) == 1


def test_a_cancelled_jobs_process_is_killed(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    with Gate() as gate:
        job = make_job(stand_at_gate, gate.port)
        hand_over(executor, job)
        gate.wait_for(1)
        assert executor.cancel(job.run_id)
        assert reports.wait_for(1)[0].state is RunState.CANCELLED
        assert gate.is_left()


def test_a_job_has_not_started_before_its_process_is_there(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    job = Hesitant(make_job(add, 1))
    hand_over(executor, job)
    assert job.asked.wait(DEADLINE_S)
    assert job.started_us == 0
    before_us = reports.now_us()
    job.answer.set()
    [outcome] = reports.wait_for(1)
    assert before_us - 1 <= outcome.started_us == job.started_us < outcome.finished_us


@pytest.mark.parametrize("how", ["cancel", "withdraw"])
def test_what_must_not_start_any_more_never_does(
    executor: ProcessPoolExecutor, reports: Reports, tmp_path: Path, how: str
) -> None:
    process = result_of(outcome_of(executor, reports, make_job(pid)))
    job = Hesitant(make_job(touch, str(tmp_path / "begun")))
    hand_over(executor, job)
    assert job.asked.wait(DEADLINE_S)
    if how == "cancel":
        assert executor.cancel(job.run_id)
        assert not executor.cancel(job.run_id)
    job.withdrawn = how == "withdraw"
    job.answer.set()
    outcome = reports.wait_for(2)[-1]
    assert (outcome.state, outcome.started_us) == (RunState.CANCELLED, 0)
    # No process was killed for that.
    pids = {result_of(outcome_of(executor, reports, make_job(pid))) for _ in range(20)}
    assert process in pids
    assert len(pids) <= 2
    assert not (tmp_path / "begun").exists()


def test_the_last_words_of_a_killed_process_arrive(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    job = make_job(speak_and_die)
    error = error_of(outcome_of(executor, reports, job))
    assert error.type == "ProcessDied"
    assert error.kinds == ("ProcessDied", "Exception")
    assert json.loads(job.progress or "") == {"percent": 42.0, "message": "about to die"}
    assert [line.rpartition(": ")[2] for line in job.log or ()] == ["last words"]


def test_killing_one_in_the_middle_of_a_word_disturbs_no_other(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    with Gate() as gate:
        other = make_job(stand_at_gate, gate.port)
        hand_over(executor, other)
        gate.wait_for(1)
        for count in range(1, 6):
            talker = make_job(speak_for_ever)
            hand_over(executor, talker)
            talker.wait_for(lambda progress, _: progress is not None)
            assert executor.cancel(talker.run_id)
            assert reports.wait_for(count)[-1].state is RunState.CANCELLED
            assert len(json.loads(talker.progress or "")["message"]) == 1_000
            assert len(talker.log or ()) >= 1
    reports.wait_for(6)
    assert result_of(reports.by_run()[other.run_id]) == "passed"
    job = make_job(count_up, 3)
    outcome_of(executor, reports, job)
    assert [json.loads(said or "")["done"] for said, _ in job.notes] == [1, 2, 3]


def test_a_flood_of_progress_arrives_to_its_end(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    job = make_job(count_up, 10_000)
    assert outcome_of(executor, reports, job).state is RunState.COMPLETED
    assert json.loads(job.progress or "")["done"] == 10_000
    assert len(job.notes) == 10_000


def test_a_fork_of_a_process_does_not_talk_into_its_line(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    job = make_job(count_up_in_a_fork_too, 1_000)
    assert outcome_of(executor, reports, job).state is RunState.COMPLETED
    said = [json.loads(progress or "")["done"] for progress, _ in job.notes]
    assert said == list(range(1, 1_001))


def test_a_cancelled_job_is_over_although_its_fork_goes_on(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    with Gate() as gate:
        job = make_job(stand_at_gate_in_a_fork_too, gate.port)
        hand_over(executor, job)
        gate.wait_for(2)
        assert executor.cancel(job.run_id)
        assert reports.wait_for(1)[0].state is RunState.CANCELLED


def test_no_thread_is_left_after_a_stop() -> None:
    before = set(threading.enumerate())
    reports, executor = Reports(), ProcessPoolExecutor(2)
    executor.open(reports.environment())
    outcome_of(executor, reports, make_job(pid))
    names = {thread.name for thread in set(threading.enumerate()) - before}
    assert {"tickwork-pool", "tickwork-pool-line"} <= names
    executor.stop(DEADLINE_S)
    assert set(threading.enumerate()) <= before


def test_a_stop_kills_what_is_left(executor: ProcessPoolExecutor, reports: Reports) -> None:
    with Gate() as gate:
        job = make_job(stand_at_gate, gate.port)
        hand_over(executor, job)
        gate.wait_for(1)
        assert executor.stop(0) == ([], [job])
        assert gate.is_left()
    assert reports.outcomes == []


def test_a_stop_takes_back_what_no_process_has_begun(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    job = Hesitant(make_job(add, 1))
    hand_over(executor, job)
    assert job.asked.wait(DEADLINE_S)
    assert executor.stop(0) == ([job], [])
    job.answer.set()
    assert job.started_us == 0
    assert reports.outcomes == []


def test_what_a_job_said_until_it_was_stopped_is_kept(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    job = make_job(speak_for_ever)
    hand_over(executor, job)
    job.wait_for(lambda progress, line: progress is not None and line is not None)
    assert executor.stop(0) == ([], [job])
    last_progress, last_line = job.notes[-1]
    assert job.progress == last_progress
    assert (job.log or [None])[-1] == last_line
    assert reports.outcomes == []


def test_a_function_without_a_reference_fails_with_advice(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    error = error_of(outcome_of(executor, reports, Job("1", "task", 1, lambda: 1)))
    assert error.type == "NoReference"
    assert "top level of a module" in error.message


def test_a_missing_function_fails_with_its_name(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    job = Job("1", "task", 1, add, reference="tickwork.testing.executor_contract:gone")
    error = error_of(outcome_of(executor, reports, job))
    assert error.type == "tickwork.errors.InvalidReferenceError"
    assert "gone" in error.message


def test_arguments_that_cannot_be_read_fail_the_run(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    job = make_job(add, 1)
    job.payload = "{"
    error = error_of(outcome_of(executor, reports, job))
    assert error.type == "tickwork.errors.UnreadableRecordError"


def test_a_result_that_cannot_be_stored_leaves_a_note(
    executor: ProcessPoolExecutor, reports: Reports
) -> None:
    outcome = outcome_of(executor, reports, make_job(unstorable))
    assert outcome.state is RunState.COMPLETED
    assert (outcome.result, outcome.encoded) == (None, True)
    assert outcome.note is not None
    assert "not kept" in outcome.note


def test_a_process_of_the_pool_is_marked(executor: ProcessPoolExecutor, reports: Reports) -> None:
    assert result_of(outcome_of(executor, reports, make_job(mark))) == "1"
    assert "TICKWORK_POOL_CHILD" not in os.environ


SCRIPT = """
import sys
from tickwork.executors import ProcessPoolExecutor
from tickwork.testing.executor_contract import Reports, add, make_job

def main():
    executor, reports = ProcessPoolExecutor(2), Reports()
    executor.open(reports.environment())
    assert executor.reserve(1) == 1
    executor.start([make_job(add, 2, 3)])
    [outcome] = reports.wait_for(1)
    print(outcome.state, outcome.result, outcome.error)
    executor.stop(5)

{start}
"""
UNGUARDED = "if __name__ == '__mp_main__': sys.exit('no scheduler may start here')\nmain()"


def output_of_script(tmp_path: Path, start: str) -> str:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(start=start))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command: list[Any] = [sys.executable, script]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=True
    ).stdout


def test_a_script_with_a_guard_has_processes(tmp_path: Path) -> None:
    assert "completed 5" in output_of_script(tmp_path, "if __name__ == '__main__': main()")


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    assert 'if __name__ == "__main__"' in output_of_script(tmp_path, UNGUARDED)


def test_nothing_is_imported_before_it_is_used() -> None:
    code = "import sys, tickwork.executors; print({'pebble', 'multiprocessing'} & {*sys.modules})"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert found.stdout.strip() == "set()"
