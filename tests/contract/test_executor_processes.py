import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tickwork.executors import ProcessPoolExecutor
from tickwork.model.jobs import Job, Outcome, RunError
from tickwork.model.policies import RunState
from tickwork.testing.executor_contract import (
    DEADLINE_S,
    ExecutorContract,
    Gate,
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


def test_a_stop_kills_what_is_left(executor: ProcessPoolExecutor, reports: Reports) -> None:
    with Gate() as gate:
        job = make_job(stand_at_gate, gate.port)
        hand_over(executor, job)
        gate.wait_for(1)
        assert executor.stop(0) == ([], [job])
        assert gate.is_left()
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
