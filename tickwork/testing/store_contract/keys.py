"""Runs that share a key: at most so many of them hold it at a time."""

from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord
from tickwork.model.steps import Verdict
from tickwork.testing.store_contract.bench import (
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Bench,
    finished,
    given_back,
    moves_on,
    pending,
    queued,
    removed,
    runs_now,
    task,
)
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["KeysContract"]


def _submitted(bench: Bench, *ages: int, key: str = "key", limit: int = 1) -> list[RunRecord]:
    """Submit runs with a key that have been available for so long."""
    return [
        bench.submit(concurrency_key=key, concurrency_limit=limit, available_us=T0 - age)
        for age in ages
    ]


def _held(bench: Bench) -> list[str]:
    return [run.id for run in bench.runs() if run.holds_key]


class KeysContract(StoreCase):
    """The contract about keys."""

    def test_a_key_is_held_by_as_many_as_it_allows(self) -> None:
        """The others wait, and are leased by nobody."""
        with self.bench() as bench:
            one, two, three = _submitted(bench, 0, 0, 0, limit=2)
            other = bench.submit()
            assert _held(bench) == [one.id, two.id]
            assert (one.available_us, one.gated_us) == (T0, None)
            waiting = bench.run(three)
            assert (waiting.available_us, waiting.gated_us) == (None, T0)
            leased = bench.lease().leased
            assert [each.run.id for each in leased] == [one.id, two.id, other.id]
            assert bench.lease() == ((), None, ())

    def test_the_end_of_a_holder_lets_the_next_one_have_it(self) -> None:
        """The longest waiting of the lowest rank; each end lets one have it."""
        with self.bench() as bench:
            first, young, old = _submitted(bench, 9, 1, 5)
            urgent = bench.submit(concurrency_key="key", rank=-1)
            order = []
            for _ in range(4):
                [leased] = bench.lease().leased
                order.append(leased.run.id)
                assert _held(bench) == [leased.run.id]
                bench.finish(finished(leased.run))
                assert not bench.run(leased.run).holds_key
            assert order == [first.id, urgent.id, old.id, young.id]
            assert _held(bench) == []

    def test_a_holder_keeps_it_until_it_is_over(self) -> None:
        """Also while it waits to be tried again, and when it is taken over."""
        with self.bench() as bench:
            bench.register(NODE)
            one, _ = _submitted(bench, 2, 1)
            [leased] = bench.lease().leased
            bench.finish(given_back(leased.run, T0 + MINUTE, started=True, error="[1]"))
            assert bench.lease() == ((), T0 + MINUTE, ())
            assert _held(bench) == [one.id]
            assert len(bench.lease(now_us=T0 + MINUTE).leased) == 1
            bench.now_us += LEASE_US
            bench.recover(lambda *_: Verdict(RunState.PENDING, 1, suspect=True), node=OTHER)
            assert _held(bench) == [one.id]
            [again] = bench.lease(node=OTHER, now_us=T0 + MINUTE).leased
            assert again.run.id == one.id
            bench.finish(finished(again.run))
            assert len(bench.lease(node=OTHER).leased) == 1

    def test_a_lost_holder_lets_go(self) -> None:
        """Of what it held."""
        with self.bench() as bench:
            bench.register(NODE)
            _, two = _submitted(bench, 2, 1)
            assert len(bench.lease().leased) == 1
            bench.now_us += LEASE_US
            bench.recover(lambda *_: Verdict(RunState.LOST, 1, suspect=True), node=OTHER)
            assert _held(bench) == [two.id]

    def test_cancelled_runs_let_go(self) -> None:
        """Holders as well as those that wait."""
        with self.bench() as bench:
            one, two, three = _submitted(bench, 3, 2, 1)
            bench.cancel(two)
            assert (bench.run(two).state, bench.run(two).gated_us) == (RunState.CANCELLED, None)
            assert _held(bench) == [one.id]
            bench.cancel(one)
            assert _held(bench) == [three.id]
            [leased] = bench.lease().leased
            assert leased.run.id == three.id

    def test_a_cancelled_waiter_is_in_nobodys_way(self) -> None:
        """The one behind it may be content with less."""
        with self.bench() as bench:
            [holder] = _submitted(bench, 9)
            [narrow] = _submitted(bench, 8)
            [wide] = _submitted(bench, 7, limit=2)
            assert _held(bench) == [holder.id]
            bench.cancel(narrow)
            assert _held(bench) == [holder.id, wide.id]

    def test_a_run_that_lingers_holds_its_key(self) -> None:
        """Until it has ended."""
        with self.bench() as bench:
            one, two = _submitted(bench, 2, 1)
            [leased] = bench.lease().leased
            entry = finished(leased.run, RunState.TIMEOUT, lingers=True)
            bench.finish(entry)
            assert _held(bench) == [one.id]
            bench.finish(entry._replace(lingers=False))
            assert _held(bench) == [two.id]

    def test_runs_of_tasks_have_keys_too(self) -> None:
        """They are planned without being leased, and count as active while they wait."""
        with self.bench() as bench:
            names = ("a", "b")
            bench.put(*(task(each, concurrency_key="key") for each in names))
            reply = bench.plan()
            assert (reply.leased, len(reply.recorded)) == ((), 2)
            assert [bench.active(each) for each in names] == [(1, 0)] * 2
            [first] = bench.lease().leased
            bench.finish(finished(first.run))
            [second] = bench.lease(store=bench.second).leased
            assert {first.run.task_id, second.run.task_id} == {"a", "b"}
            bench.finish(finished(second.run))
            assert [bench.active(each) for each in names] == [(0, 0)] * 2

    def test_queued_runs_wait_for_their_task_first(self) -> None:
        """And for their key then."""
        with self.bench() as bench:
            bench.put(task(concurrency_key="key"))
            runs = pending(T0), queued(T0 + 1)
            bench.plan(moves_on(*runs, planned_us=T0 + 1))
            [other] = _submitted(bench, 0)
            assert bench.active() == (2, 1)
            [first] = bench.lease().leased
            bench.finish(finished(first.run))
            assert bench.active() == (1, 0)
            assert _held(bench) == [other.id]
            [leased] = bench.lease().leased
            bench.finish(finished(leased.run))
            [last] = bench.lease(now_us=T0 + 1).leased
            assert last.run.fire_us == T0 + 1

    def test_a_removed_task_leaves_no_key_behind(self) -> None:
        """What waits for it gets it."""
        with self.bench() as bench:
            bench.put(task("task", None, concurrency_key="key"))
            bench.edit(runs_now(pending(None)), "task")
            [other] = _submitted(bench, 0)
            assert other.id not in _held(bench)
            bench.edit(removed(), "task")
            assert _held(bench) == [other.id]

    def test_keys_are_apart(self) -> None:
        """Whatever they are called, also where they differ only in case."""
        with self.bench() as bench:
            names = ("key", "Key", "kéy", "key ", "a:b", "{x}", "k" * 150)
            for each in names:
                _submitted(bench, 0, 0, key=each)
            assert len(bench.lease().leased) == len(names)

    def test_each_run_goes_by_its_own_limit(self) -> None:
        """The first that waits is the first to get it, or nobody is."""
        with self.bench() as bench:
            _submitted(bench, 9, 8, limit=2)
            [narrow] = _submitted(bench, 7, limit=1)
            [wide] = _submitted(bench, 6, limit=5)
            leased = [each.run for each in bench.lease().leased]
            assert len(leased) == 2
            bench.finish(finished(leased[0]))
            assert bench.lease().leased == ()
            bench.finish(finished(leased[1]))
            assert _held(bench) == [narrow.id, wide.id]
