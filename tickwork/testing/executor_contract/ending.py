"""The end of an executor, and what it leaves."""

from collections import Counter
from threading import Event, Thread

from tickwork.testing.executor_contract.case import ExecutorCase, Reports, make_job, result_of
from tickwork.testing.executor_contract.gate import DEADLINE_S, Gate
from tickwork.testing.executor_contract.jobs import add

__all__ = ["EndingContract"]


class EndingContract(ExecutorCase):
    """Stopping, and beginning anew."""

    def test_stop_waits_for_what_runs(self) -> None:
        """A job that ends in time is reported before `stop` returns."""
        with self.opened() as (executor, reports), Gate() as gate:
            with self.standing(executor, gate, 1):
                opener = Thread(target=gate.open)
                opener.start()
                leftover = executor.stop(DEADLINE_S)
                opener.join(DEADLINE_S)
            assert (leftover.unstarted, leftover.running) == ([], [])
            assert [result_of(outcome) for outcome in reports.wait_for(1)] == ["passed"]

    def test_stop_returns_what_is_left_and_reports_no_more(self) -> None:
        """Each job handed over is in the leftover, and nothing is heard of it any more."""
        with self.opened() as (executor, reports), Gate() as gate:
            count = min(3, executor.idle())
            with self.standing(executor, gate, count) as jobs:
                leftover = executor.stop(0)
                left = Counter(job.run_id for job in [*leftover.unstarted, *leftover.running])
            assert left == Counter(job.run_id for job in jobs)
            assert jobs[0] in leftover.running
            assert reports.outcomes == []

    def test_stop_in_the_middle_accounts_for_each_job(self) -> None:
        """Reported, left over, or refused: each job is exactly one of these."""
        with self.opened() as (executor, reports):
            jobs = [make_job(add, number) for number in range(200)]
            first = Event()
            reports.on_report = lambda _: first.set()
            batch = jobs[: executor.reserve(len(jobs))]
            starter = Thread(target=executor.start, args=(batch,))
            starter.start()
            assert first.wait(DEADLINE_S)
            leftover = executor.stop(0)
            heard = [outcome.job for outcome in reports.outcomes]
            starter.join(DEADLINE_S)
        counts = Counter(job.run_id for job in [*heard, *leftover.unstarted, *leftover.running])
        assert counts == Counter(job.run_id for job in batch)
        assert len(reports.outcomes) == len(heard)

    def test_it_works_again_after_a_stop(self) -> None:
        """A stopped executor has no places; opened again it is as new, whatever was left over."""
        executor = self.make_executor()
        with Gate() as gate:
            former = Reports()
            executor.open(former.environment(self.event_loop()))
            with self.standing(executor, gate, 1):
                executor.stop(0)
                assert executor.reserve(1) == 0
                reports = Reports()
                executor.open(reports.environment(self.event_loop()))
                assert executor.reserve(1) == 1
                executor.start([make_job(add, 4)])
                assert result_of(reports.wait_for(1)[0]) == 4
        leftover = executor.stop(DEADLINE_S)
        assert (leftover.unstarted, leftover.running) == ([], [])
        assert former.outcomes == []
        assert len(reports.outcomes) == 1

    def test_an_idle_executor_stops_at_once(self) -> None:
        """There is nothing left, and stopping twice is harmless."""
        with self.opened() as (executor, _):
            leftover = executor.stop(DEADLINE_S)
            assert (leftover.unstarted, leftover.running) == ([], [])
