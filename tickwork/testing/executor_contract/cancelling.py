"""The optional power to cancel what was started."""

from collections import Counter
from threading import Event, Thread

from tickwork.interfaces import Cancelling
from tickwork.model.policies import RunState
from tickwork.testing.executor_contract.case import ExecutorCase, make_job, result_of
from tickwork.testing.executor_contract.gate import DEADLINE_S, Gate, stand_at_gate_later
from tickwork.testing.executor_contract.jobs import add, add_later, speak_at_gate

__all__ = ["CancellingContract"]


class CancellingContract(ExecutorCase):
    """What executors do that are `Cancelling`; others have nothing to show here."""

    def test_a_running_job_is_cancelled_or_goes_on(self) -> None:
        """As the executor says of itself; its place is free then, and others don't notice."""
        with self.opened() as (executor, reports), Gate() as gate:
            if not isinstance(executor, Cancelling):
                return
            with self.standing(executor, gate, 1) as [job]:
                assert not executor.cancel("no such run")
                ended = executor.cancel(job.run_id)
                assert ended is executor.ends_running
                if not ended:
                    assert reports.outcomes == []
                    gate.open()
                [outcome] = reports.wait_for(1)
                assert outcome.state is (RunState.CANCELLED if ended else RunState.COMPLETED)
                assert (outcome.error is not None) is ended
                assert outcome.started_us == job.started_us > 0
            assert executor.reserve(1) == 1
            executor.start([make_job(add, 5)])
            assert result_of(reports.wait_for(2)[1]) == 5

    def test_all_places_are_whole_again_after_their_jobs_were_cancelled(self) -> None:
        """As many jobs as before stand side by side again, and all of them pass."""
        with self.opened() as (executor, reports):
            if not isinstance(executor, Cancelling) or not executor.ends_running:
                return
            count = min(3, executor.idle())
            for turn in range(2):
                with Gate() as gate:
                    jobs = [make_job(stand_at_gate_later, gate.port) for _ in range(count)]
                    assert executor.reserve(count) == count
                    executor.start(jobs)
                    gate.wait_for(count)
                    if turn == 0:
                        ended = [executor.cancel(job.run_id) for job in jobs]
                        assert ended == [True] * count
                        reports.wait_for(count)
                reports.wait_for((turn + 1) * count)
            states = Counter(outcome.state for outcome in reports.outcomes)
            assert states == {RunState.CANCELLED: count, RunState.COMPLETED: count}

    def test_what_a_cancelled_job_had_said_is_kept(self) -> None:
        """Progress and log, up to the moment in which it was ended."""
        with self.opened() as (executor, reports), Gate() as gate:
            if not isinstance(executor, Cancelling) or not executor.ends_running:
                return
            job = make_job(speak_at_gate, gate.port)
            with self.at_work(executor, job):
                gate.wait_for(1)
                assert executor.cancel(job.run_id)
                [outcome] = reports.wait_for(1)
                assert outcome.state is RunState.CANCELLED
                assert job.progress is not None
                assert len(job.log or ()) == 1

    def test_a_job_may_come_to_its_end_while_it_is_cancelled(self) -> None:
        """It is reported all the same, and its place is whole."""
        with self.opened() as (executor, reports):
            if not isinstance(executor, Cancelling) or not executor.ends_running:
                return
            for turn in range(1, 4):
                with Gate() as gate:
                    job = make_job(stand_at_gate_later, gate.port)
                    assert executor.reserve(1) == 1
                    executor.start([job])
                    gate.wait_for(1)
                    assert executor.cancel(job.run_id)
                outcome = reports.wait_for(turn)[-1]
                assert outcome.state in {RunState.CANCELLED, RunState.COMPLETED}
                assert outcome.started_us == job.started_us > 0

    def test_a_job_may_be_cancelled_as_soon_as_it_was_handed_over(self) -> None:
        """It never begins then, or is ended, or goes on where it can't be ended."""
        with self.opened() as (executor, reports):
            if not isinstance(executor, Cancelling):
                return
            for turn in range(1, 6):
                with Gate() as gate:
                    job = make_job(stand_at_gate_later, gate.port)
                    assert executor.reserve(1) == 1
                    executor.start([job])
                    ended = executor.cancel(job.run_id)
                    assert ended or not executor.ends_running
                    if not ended:
                        gate.wait_for(1)
                        gate.open()
                    outcome = reports.wait_for(turn)[-1]
                    assert outcome.state is (RunState.CANCELLED if ended else RunState.COMPLETED)
                    assert outcome.started_us == job.started_us
            assert executor.reserve(1) == 1
            executor.start([make_job(add, 6)])
            assert result_of(reports.wait_for(6)[-1]) == 6

    def test_a_cancelled_job_is_reported_exactly_once(self) -> None:
        """Also where its end and the request for it meet."""
        with self.opened() as (executor, reports):
            if not isinstance(executor, Cancelling):
                return
            count = executor.reserve(10)
            jobs = [make_job(add_later, number) for number in range(count)]
            over = Event()

            def cancel_all() -> None:
                while not over.is_set():
                    for job in jobs:
                        executor.cancel(job.run_id)

            canceller = Thread(target=cancel_all)
            canceller.start()
            executor.start(jobs)
            reports.wait_for(count)
            over.set()
            canceller.join(DEADLINE_S)
            counts = Counter(outcome.job.run_id for outcome in reports.wait_for(count))
            assert counts == Counter(job.run_id for job in jobs)
            leftover = executor.stop(DEADLINE_S)
        assert (leftover.unstarted, leftover.running) == ([], [])
        assert len(reports.outcomes) == count
