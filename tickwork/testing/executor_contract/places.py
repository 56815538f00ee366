"""The places of an executor, and the jobs in them."""

from collections import Counter
from collections.abc import Sequence
from threading import Event, Thread

from tickwork.model.jobs import Outcome
from tickwork.testing.executor_contract.case import ExecutorCase, hand_over, make_job, result_of
from tickwork.testing.executor_contract.gate import DEADLINE_S
from tickwork.testing.executor_contract.jobs import add

__all__ = ["PlacesContract"]

_MANY = 1_000


class PlacesContract(ExecutorCase):
    """Reserving, starting, reporting."""

    def test_each_of_many_jobs_is_reported_exactly_once(self) -> None:
        """Four threads hand over 1,000 jobs; each comes back once, none is left."""
        jobs = [make_job(add, number) for number in range(_MANY)]
        with self.opened() as (executor, reports):
            freed = [Event() for _ in range(4)]

            def tell_all(_: Sequence[Outcome]) -> None:
                for event in freed:
                    event.set()

            reports.on_report = tell_all
            feeders = [
                Thread(target=hand_over, args=(executor, jobs[start::4], freed[start]))
                for start in range(4)
            ]
            for feeder in feeders:
                feeder.start()
            reports.wait_for(_MANY)
            for feeder in feeders:
                feeder.join(DEADLINE_S)
            leftover = executor.stop(DEADLINE_S)
        assert (leftover.unstarted, leftover.running) == ([], [])
        counts = Counter(outcome.job.run_id for outcome in reports.outcomes)
        assert counts == Counter(job.run_id for job in jobs)
        assert sorted(map(result_of, reports.outcomes)) == list(range(_MANY))

    def test_no_more_places_are_given_than_there_are(self) -> None:
        """Reserved places are counted, and given back places are there again, exactly."""
        with self.opened() as (executor, _):
            everything = executor.reserve(10**9)
            assert everything >= 1
            assert executor.reserve(1) == 0
            executor.release(1)
            assert executor.reserve(10**9) == 1
            executor.release(everything)
            assert executor.reserve(0) == 0
            assert executor.idle() >= 1

    def test_a_place_is_free_when_its_job_is_reported(self) -> None:
        """The receiver of an outcome can reserve the place at once, in the middle of the report."""
        with self.opened() as (executor, reports):
            granted: list[int] = []
            reports.on_report = lambda _: granted.append(executor.reserve(1))
            places = executor.reserve(10**9)
            executor.release(places - 1)
            assert executor.reserve(places - 1) == places - 1
            executor.start([make_job(add, 1)])
            reports.wait_for(1)
            assert granted == [1]
