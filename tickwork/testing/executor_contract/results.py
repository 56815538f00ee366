"""What comes back from an executor."""

from tickwork.interfaces import Executor
from tickwork.model.policies import RunState
from tickwork.testing.executor_contract.case import ExecutorCase, make_job, result_of
from tickwork.testing.executor_contract.jobs import (
    add,
    add_later,
    fail,
    fail_later,
    look_and_leave,
    look_and_leave_later,
)

__all__ = ["ResultsContract"]


class ResultsContract(ExecutorCase):
    """What comes back."""

    def test_it_is_an_executor_with_a_kind(self) -> None:
        """It has all methods, and a name for its kind."""
        executor = self.make_executor()
        assert isinstance(executor, Executor)
        assert executor.kind
        assert executor.kind == type(executor).kind

    def test_results_of_plain_functions_come_back(self) -> None:
        """Arguments arrive and the result returns."""
        [outcome] = self.outcomes_of(make_job(add, 2, 3))
        assert result_of(outcome) == 5
        assert outcome.error is None

    def test_results_of_coroutine_functions_come_back(self) -> None:
        """A coroutine is awaited, never returned."""
        [outcome] = self.outcomes_of(make_job(add_later, 2, 3))
        assert result_of(outcome) == 5

    def test_times_are_the_environments(self) -> None:
        """Start and end are read from the given clock, and the job knows its start."""
        [outcome] = self.outcomes_of(make_job(add, 1))
        assert 1_000_000 <= outcome.started_us <= outcome.finished_us
        assert outcome.job.started_us == outcome.started_us

    def test_errors_come_back_as_data(self) -> None:
        """Whatever is raised fails its own run only, and the executor goes on."""
        kinds = ["value", "exit", "interrupt", "unspeakable", "stop_iteration"]
        names = ["ValueError", "SystemExit", "KeyboardInterrupt", None, None]
        for function in (fail, fail_later):
            jobs = [make_job(function, kind) for kind in kinds]
            *failed, last = self.outcomes_of(*jobs, make_job(add, 1))
            for outcome, name in zip(failed, names, strict=True):
                assert outcome.state is RunState.FAILED, outcome
                assert outcome.error is not None
                assert name in {None, outcome.error.type}
                assert outcome.error.message.isprintable()
                assert not outcome.error.traceback.startswith("<no text")
            assert result_of(last) == 1

    def test_task_errors_keep_code_and_details(self) -> None:
        """A `TaskError` is stored structured; details that aren't JSON become text."""
        for function in (fail, fail_later):
            [outcome] = self.outcomes_of(make_job(function, "task"))
            assert outcome.state is RunState.FAILED
            assert outcome.error is not None
            assert (outcome.error.code, outcome.error.message) == ("no_stock", "sold out")
            assert outcome.error.details == {"left": 0, "odd": "{1, 2}"}

    def test_a_job_that_cancels_itself_is_cancelled(self) -> None:
        """A `CancelledError` raised inside is no failure."""
        jobs = [make_job(fail, "cancelled"), make_job(fail_later, "cancelled")]
        states = [outcome.state for outcome in self.outcomes_of(*jobs)]
        assert states == [RunState.CANCELLED] * 2

    def test_contexts_never_leak_into_each_other(self) -> None:
        """What a job sets in its context, no other job sees, before, beside or after it."""
        functions = [look_and_leave, look_and_leave_later] * 10
        jobs = [make_job(function, str(place)) for place, function in enumerate(functions)]
        assert {result_of(outcome) for outcome in self.outcomes_of(*jobs)} == {"nothing"}
